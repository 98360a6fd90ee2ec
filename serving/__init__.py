"""What speaks TensorFlow Serving's API: an embedded server, a client, and files to deploy the real one with.

    server.py     start, stop, drain: ``python -m serving.server`` or ``tf-landslide serve``
    flags.py      TensorFlow Serving's flags: which are honoured, which only accepted, which refused
    core.py       what a request asks for, whichever way it came (caller.py: and who waits for it)
    servicers.py  the way in over gRPC
    rest.py       the way in over HTTP (json_tensors.py: its bodies)
    manager.py    models, versions and labels: what is loaded, what is wanted, and the way between the two
    servable.py   one loaded version of a model
    batching.py   requests of one shape run together
    client.py     a server as a predictor
    tensors.py    arrays to and from TensorFlow's messages, without TensorFlow
    protos.py     the official messages, without TensorFlow's start-up
    configs.py    TensorFlow Serving's text configuration files
    deploy/       Compose, Kubernetes and TensorFlow Serving's own configuration

The embedded server is not TensorFlow Serving: it answers the same calls on the same files where no such binary is at
hand (docs/serving.md says how far).
"""
