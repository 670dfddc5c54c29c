"""A mail server that takes nothing without STARTTLS, and prints what it got as JSON lines."""

import json, ssl, sys, time
from aiosmtpd.controller import Controller


class Sink:
    async def handle_DATA(self, server, session, envelope):
        print(json.dumps({"from": envelope.mail_from, "to": envelope.rcpt_tos, "tls": session.ssl is not None,
                          "text": envelope.content.decode()}), flush=True)
        return "250 taken"


tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(sys.argv[1], sys.argv[2])
offers = sys.argv[3] == "tls"
import socket
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
controller = Controller(Sink(), hostname="127.0.0.1", port=port,
                        **({"tls_context": tls, "require_starttls": True} if offers else {}))
controller.start()
print(port, flush=True)
time.sleep(600)
