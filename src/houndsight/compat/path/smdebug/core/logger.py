"""The logger."""

from __future__ import annotations

import logging
import os
import socket
import sys

__all__ = ["get_logger"]


def get_logger(name: str = "smdebug") -> logging.Logger:
    """The logger of that name, which writes to stderr unless somebody set it up otherwise."""
    logger = logging.getLogger(name)
    if not logger.handlers and not logger.propagate:
        return logger
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        line = f"[%(asctime)s.%(msecs)03d {socket.gethostname()}:{os.getpid()} %(levelname)s "
        line += "%(filename)s:%(lineno)d] %(message)s"
        handler.setFormatter(logging.Formatter(line, "%Y-%m-%d %H:%M:%S"))
        logger.addHandler(handler)
        logger.setLevel(os.environ.get("SMDEBUG_LOG_LEVEL", "INFO").upper())
        logger.propagate = False
    return logger
