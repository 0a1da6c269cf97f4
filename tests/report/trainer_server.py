"""Kubeflow Trainer's server, which is told how far a TrainJob is: played here, over real HTTPS."""

import contextlib
import http.server
import json
import ssl
import subprocess
import threading
from types import SimpleNamespace

PATH = "/apis/trainer.kubeflow.org/v1alpha1/namespaces/me/trainjobs/digits/status"


def certificate_in(folder):
    """A key and a certificate of `localhost` that vouches for itself."""
    key, found = folder / "key.pem", folder / "certificate.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    words += ["-keyout", key, "-out", found, "-subj", "/CN=localhost"]
    words += ["-addext", "subjectAltName=DNS:localhost"]
    words += ["-addext", "keyUsage=digitalSignature,keyCertSign"]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
    return SimpleNamespace(key=key, path=found)


@contextlib.contextmanager
def serving(certificate, status=200):
    """The server, as long as the body lasts; gives what it was sent, and its port."""
    got = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            got.append(SimpleNamespace(path=self.path, headers=self.headers, body=body))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.path, certificate.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield SimpleNamespace(got=got, port=server.server_port)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def environ_of(port, certificate, token):
    """What Trainer gives a pod.

    Args:
        port: of the server.
        certificate: path of the authority's, as the pod sees it.
        token: path of a file, likewise.
    """
    return {
        "KUBEFLOW_TRAINER_SERVER_URL": f"https://localhost:{port}{PATH}",
        "KUBEFLOW_TRAINER_SERVER_CA_CERT": str(certificate),
        "KUBEFLOW_TRAINER_SERVER_TOKEN": str(token),
    }
