"""How workers find each other, and see each other end.

Read `rendezvous`, in which all workers meet, with `own_port` and `handshake`; `probe` says what is
at an address. `heartbeats` and `constructor_timeout` are about TensorFlow's own waiting,
`peer_watch` sees another worker end.
"""
