"""A Slack-compatible incoming webhook: refuses what Slack would refuse, prints what it got as JSON lines."""

import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer


def judge(headers, path, text):
    if path != "/services/T0/B0/secret":
        return 404, "no_team"
    if headers.get("content-type", "").split(";")[0] != "application/json":
        return 400, "invalid_payload"
    try:
        body = json.loads(text)
    except ValueError:
        return 400, "invalid_payload"
    known = {"text", "blocks", "attachments", "thread_ts", "mrkdwn", "unfurl_links", "unfurl_media"}
    if not isinstance(body, dict) or set(body) - known:
        return 400, "invalid_payload"
    said = body.get("text")
    if not isinstance(said, str) or not said.strip():
        return 400, "no_text"
    if len(said) > 40_000:
        return 400, "msg_too_long"
    return 200, "ok"


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        text = self.rfile.read(int(self.headers["content-length"])).decode()
        status, answer = judge(self.headers, self.path, text)
        self.send_response(status)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer.encode())
        print(json.dumps({"status": status, "answer": answer, "body": json.loads(text)}), flush=True)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_address[1], flush=True)
server.serve_forever()
