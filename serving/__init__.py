"""What speaks TensorFlow Serving's API: an embedded server, a client, and files to deploy the real one with.

It stands alone: nothing here knows landslides, and any project could take it.

    server.py     start, stop, drain: ``python -m serving.server`` or ``tf-landslide serve``
    flags.py      TensorFlow Serving's flags: which are honoured, which only accepted, which refused
    options.py    what the flags come to: files, ports, credentials
    api.py        the API's calls, whichever door they come through (gate.py: how many; caller.py: who waits for it)
    servicers.py  the way in over gRPC
    rest.py       the way in over HTTP (bodies.py: how much of it; hosts.py: who may call)
    rapidjson.py  its JSON, as TensorFlow Serving reads it (json_tensors.py, json_examples.py in; json_outputs.py out;
                  json_errors.py: how it is told that it is wrong)
    streams.py    how many streams are open over gRPC
    listener.py   connections over HTTP: how many, how long, and how they end
    manager.py    models, versions and labels: what is loaded, what is wanted, and the way between the two
    wanted.py     what a configuration asks for: models, and versions by policy
    servable.py   one loaded version of a model
    session.py    its graph, as TensorFlow runs it
    inference.py  Classify, Regress, MultiInference: examples to classes and values
    batching.py   requests of one shape run together
    versions.py   what a version folder is
    startup.py    TensorFlow started, without its noise
    client.py     a client of one model
    tensors.py    arrays to and from TensorFlow's messages, without TensorFlow
    protos.py     the official messages, without TensorFlow's start-up
    configs.py    TensorFlow Serving's text configuration files
    deploy/       Compose, Kubernetes and TensorFlow Serving's own configuration

The embedded server is not TensorFlow Serving: it answers the same calls on the same files where no such binary is at
hand (docs/serving.md says how far).
"""
