"""The regexes by which tuning jobs read a script's log."""

from __future__ import annotations

from .case import Case

CASES = (
    Case(
        name="Test set: Average loss",
        metrics={"average test loss": "Test set: Average loss: ([0-9\\.]+)"},
        script="""
            for loss in (2.5, 0.5012):
                text = "\\nTest set: Average loss: {:.4f}, Accuracy: {}/{} ({:.0f}%)\\n"
                print(text.format(loss, 1, 2, 50))
        """,
        values={"average test loss": 0.5012},
    ),
    Case(
        name="Testing Loss, through a logger on standard output",
        metrics={"Test Loss": "Testing Loss: ([0-9\\.]+)"},
        script="""
            import logging, sys
            logger = logging.getLogger(__name__)
            logger.setLevel(logging.DEBUG)
            logger.addHandler(logging.StreamHandler(sys.stdout))
            logger.info("Testing Loss: %s", 4.909)
            logger.info("Testing Accuracy: %s", 0.0095)
        """,
        values={"Test Loss": 4.909},
    ),
    Case(
        name="Test Loss with a sign, on standard error",
        metrics={"loss": "Test Loss: ([+-]?[0-9\\.]+)"},
        script="""
            import sys
            print("Test Loss: -0.75", file=sys.stderr)
        """,
        values={"loss": -0.75},
    ),
    Case(
        name="a percentage in brackets",
        metrics={"accuracy": r"\((\d+)%\)"},
        script="""
            print("Accuracy: 30/40 (75%)")
        """,
        values={"accuracy": 75.0},
    ),
    Case(
        name="beside a progress bar without line ends",
        metrics={"loss": "valid loss=([0-9.]+)"},
        script="""
            import sys
            for i in range(200):
                sys.stderr.write("\\r%d/200 [=====>" % i)
            sys.stderr.write("\\n")
            print("valid loss=0.125")
        """,
        values={"loss": 0.125},
    ),
)
