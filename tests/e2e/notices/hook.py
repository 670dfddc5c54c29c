"""A receiver of webhooks: refuses the first two calls, judges signatures by itself, prints what it got as JSON lines."""

import base64, hashlib, hmac, json, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer

secret = base64.b64decode(sys.argv[1])
refuse = int(sys.argv[2])
seen = 0


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        global seen
        body = self.rfile.read(int(self.headers["content-length"]))
        seen += 1
        status = 503 if seen <= refuse else 204
        id, at = self.headers.get("webhook-id", ""), self.headers.get("webhook-timestamp", "0")
        signed = f"{id}.{at}.".encode() + body
        expected = "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
        given = self.headers.get("webhook-signature", "").split(" ")
        sound = any(hmac.compare_digest(expected, one) for one in given) and abs(time.time() - int(at)) < 300
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()
        print(json.dumps({"path": self.path, "id": id, "sound": sound, "status": status,
                          "body": json.loads(body)}), flush=True)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_address[1], flush=True)
server.serve_forever()
