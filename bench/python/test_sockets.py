"""Programs that are not ours on the operators' sockets of a real venue: an API fuzzer that holds what is answered against
the document that the daemon serves, and the parser of Prometheus (`cargo ci readers`)."""

import contextlib
import pathlib
import socket
import subprocess
import sys
import threading
import unittest

import yaml
from prometheus_client.parser import text_string_to_metric_families

from test_deltabox import AdminConnection, Venue

HERE = pathlib.Path(__file__).resolve().parent
# A stop ends the box, a stream of events never ends, and a box without fresh prices rightly says that it is not ready:
# other tests have these.
EXCLUDED = "^/v1/(shutdown|events|readyz)$"
EXAMPLES = 12


class Forwarder:
    """A TCP port on loopback that is a Unix socket: the fuzzer speaks TCP only."""

    def __init__(self, path):
        self.path = str(path)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                far = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                far.connect(self.path)
                for source, to in [(near, far), (far, near)]:
                    threading.Thread(target=self.carry, args=(source, to), daemon=True).start()

    @staticmethod
    def carry(source, to):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                to.sendall(data)
        with contextlib.suppress(OSError):
            to.shutdown(socket.SHUT_WR)

    def close(self):
        self.listener.close()


class SocketsTest(unittest.TestCase):
    def setUp(self):
        self.venue = Venue()
        self.addCleanup(self.venue.stop)

    def test_what_is_answered_is_what_the_document_says(self):
        forwarder = Forwarder(self.venue.path / "admin.sock")
        self.addCleanup(forwarder.close)
        base = f"http://127.0.0.1:{forwarder.port}"
        command = [str(pathlib.Path(sys.executable).with_name("schemathesis")), "run", f"{base}/v1/openapi.json"]
        command += ["--url", base, "--exclude-path-regex", EXCLUDED, "--phases", "coverage,fuzzing"]
        command += ["--max-examples", str(EXAMPLES), "--seed", "1", "--no-color", "--generation-database", "none"]
        command += ["--checks", "not_a_server_error,status_code_conformance,content_type_conformance,"]
        command[-1] += "response_schema_conformance,unsupported_method"
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=self.venue.path)
        self.assertEqual(done.returncode, 0, done.stdout[-6_000:] + done.stderr[-2_000:])
        # Whatever came, the box lives and its log of it is whole.
        self.assertTrue(self.venue.admin("GET", "/v1/livez")["live"])

    def test_prometheus_reads_the_metrics(self):
        connection = AdminConnection(self.venue.path / "view.sock")
        connection.request("GET", "/metrics")
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        self.assertEqual(response.status, 200)
        self.assertTrue(response.headers["content-type"].startswith("text/plain; version=0.0.4"))
        families = {family.name: family for family in text_string_to_metric_families(text)}
        self.assertGreater(len(families), 40)
        for name, family in families.items():
            self.assertTrue(name.startswith("hostd_"), name)
            self.assertTrue(family.documentation, name)
            self.assertIn(family.type, ("counter", "gauge", "histogram"), name)
        self.assertEqual(families["hostd_deposits"].samples[0].value, 3)
        self.assertEqual(families["hostd_ready"].samples[0].value, 1)
        stages = {s.labels["stage"] for s in families["hostd_stage_seconds"].samples}
        self.assertIn("rx_tx", stages)

    def test_the_alert_rules_are_whole(self):
        rules = yaml.safe_load((HERE.parents[1] / "hostd" / "dashboards" / "alerts.yml").read_text())
        alerts = [rule for group in rules["groups"] for rule in group["rules"]]
        self.assertEqual(len(alerts), len({rule["alert"] for rule in alerts}))
        for rule in alerts:
            self.assertEqual(set(rule), {"alert", "expr", "for", "labels", "annotations"}, rule)
            self.assertIn(rule["labels"]["severity"], ("page", "warn"))
            self.assertEqual(rule["expr"].count("("), rule["expr"].count(")"), rule)


if __name__ == "__main__":
    unittest.main()
