"""The container contract without a container: what a SageMaker training script expects to find.

`prepare` makes the hosts of a job ready and says what to execute, `enter` gives the process its
private `/opt/ml`, `finish` packs and uploads what it has left and says why it failed.
"""
