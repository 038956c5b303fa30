"""S3: buckets and objects over `houndsight.jobs.objects`, spoken as the official clients expect.

`app` is the ASGI application, `routes` names the operation of a request, and the operations
stand in `buckets`, `listings`, `objects`, `copies`, `uploads`, `tagging` and `configuration`.
A body goes through `bodies` (chunks, signatures, checksums) into the store, piece by piece.
"""
