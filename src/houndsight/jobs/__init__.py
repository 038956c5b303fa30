"""Training, tuning and endpoint jobs: their states, their store, the engines that run them.

Nothing here imports PyTorch: the control plane and the supervisors never hold it.
"""
