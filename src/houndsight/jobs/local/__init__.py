"""The local engine: jobs as processes of this machine that outlive the control plane.

`engine` starts a `supervisor` for each job, which has the job's folder made ready, has its scripts
started (by the `launcher`, which has imported PyTorch, or afresh) and then only follows files.
Between it and each script stands a `stub`, which waits and says how the script ended.
"""
