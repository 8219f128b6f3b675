"""The client against a real venue: the program that DELTABOX_HOSTD names, on loopback (`cargo ci readers`)."""

import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

import deltabox
from cryptography.hazmat.primitives.asymmetric import ed25519

HERE = pathlib.Path(__file__).resolve().parent
HOSTD = os.environ["DELTABOX_HOSTD"]
EXAMPLE = HERE.parents[1] / "hostd" / "tests" / "example.toml"
DISSECTOR = HERE.parents[1] / "firmware" / "readers" / "deltabox.lua"
INDEX_MICRO = 100_000_000_000
# Members 1 and 2, the oracle, the venue; accounts 1 and 2 are of member 1, account 3 of member 2.
MAKER, TAKER, ORACLE, VENUE = 1, 2, 3, 9
# Ports of the example: order entry, re-requests; lines A and B, snapshots, checkpoints.
ORDER_PORT, REQUEST_PORT = 4000, 4004
FEED_PORTS = LINE_A, LINE_B, SNAPSHOTS, CHECKPOINTS = 4002, 4003, 4005, 4006


def key(seed):
    return ed25519.Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)


def public(seed):
    return key(seed).public_key().public_bytes_raw()


def free_port():
    """Below the range that the system hands out, so that nobody takes it by chance."""
    start = 9_000 + os.getpid() % 11_000
    for port in range(start, start + 100):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            if port not in free_port.given:
                free_port.given.add(port)
                return port
    raise OSError("no free port")


free_port.given = set()


class AdminConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path):
        super().__init__("hostd", timeout=10)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(10)
        self.sock.connect(str(self.path))


class Venue:
    """The daemon in a folder of its own, with accounts 1 to 3 funded and an index."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = pathlib.Path(self.folder.name)
        key_file = self.path / "venue.key"
        key_file.touch(mode=0o600)
        key_file.write_text((bytes([VENUE]) * 32).hex() + "\n")
        head, *parts = EXAMPLE.read_text(encoding="utf-8").split("PUBLIC_KEY")
        # The first mention is in a comment.
        keys = [public(seed).hex() for seed in (MAKER, MAKER, TAKER, ORACLE)]
        config = head + "".join(key + part for key, part in zip(keys, parts, strict=True))
        changes = {
            'data_dir = "run"': f'data_dir = "{self.path / "run"}"',
            "keys/venue.key": str(key_file),
            '\ndir = "run"': f'\ndir = "{self.path}"',
        }
        self.ports = {port: free_port() for port in sorted(map(int, re.findall(r"127\.0\.0\.1:(\d+)", config)))}
        changes |= {f"127.0.0.1:{old}": f"127.0.0.1:{new}" for old, new in self.ports.items()}
        for old, new in changes.items():
            assert old in config, old
            config = config.replace(old, new)
        self.address = ("127.0.0.1", self.ports[ORDER_PORT])
        self.lines = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in FEED_PORTS]
        for line, port in zip(self.lines, FEED_PORTS):
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            line.setblocking(False)
            line.bind(("127.0.0.1", self.ports[port]))
        (self.path / "hostd.toml").write_text(config, encoding="utf-8")
        self.log = open(self.path / "log", "wb")
        self.process = subprocess.Popen(
            [HOSTD, "run", "--config", str(self.path / "hostd.toml")],
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        try:
            line = self.process.stdout.readline().strip()
            assert line == "hostd: ready", (line, (self.path / "log").read_text())
            deposits = [
                {"queue_index": i, "account": i + 1, "amount_micro": 10**12, "owner": f"0x{i + 100:040x}"}
                for i in range(3)
            ]
            self.admin("POST", "/v1/deposits", deposits)
            self.oracle(INDEX_MICRO)
            self.wait(lambda status: (status["risk_epoch"] or 0) > 0)
        except BaseException:
            print((self.path / "log").read_text(encoding="utf-8"), file=sys.stderr)
            self.stop()
            raise

    def admin(self, method, route, body=None):
        connection = AdminConnection(self.path / "admin.sock")
        connection.request(method, route, body and json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        assert response.status == 200, (response.status, answer)
        return answer

    def wait(self, is_so):
        until = time.monotonic() + 10
        while not is_so(status := self.admin("GET", "/v1/status")):
            assert time.monotonic() < until, status
            time.sleep(0.01)
        return status

    def oracle(self, index_micro):
        """A signed price, in a datagram like those of the login."""
        schema = deltabox.Schema()
        values = {f"vol{i}E9": 600_000_000 for i in range(4)}
        values |= {"reportNo": time.time_ns(), "timestamp": time.time_ns(), "indexMicro": index_micro, "keyId": 1}
        part = schema.encode("OracleReport", **values)[deltabox.SBE_HEAD.size : -64]
        message = schema.encode("OracleReport", **values, signature=key(ORACLE).sign(b"deltabox oracle v1" + part))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(deltabox.Session.datagram_of_login(message), self.address)

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()
        for line in self.lines:
            line.close()
        self.log.close()
        self.folder.cleanup()


class Capture:
    """A capture file of UDP payloads, as a network card would have seen them."""

    def __init__(self):
        self.data = struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)

    def add(self, payload, source, target):
        udp = struct.pack(">HHHH", source, target, 8 + len(payload), 0) + payload
        address = socket.inet_aton("127.0.0.1")
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + address + address
        frame = bytes(12) + b"\x08\x00" + ip + udp
        self.data += struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame

    def fields(self, folder, names, *options):
        """What tshark shows: a list of values for each name, per frame."""
        path = folder / "capture.pcap"
        path.write_bytes(self.data)
        command = ["tshark", "-n", "-X", f"lua_script:{DISSECTOR}", "-r", str(path), *options, "-T", "fields"]
        command += [word for name in names for word in ("-e", name)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0 and "Lua: Error" not in done.stderr, done.stderr
        lines = done.stdout.splitlines()
        return [[value.split(",") if value else [] for value in line.split("\t")] for line in lines]


class Listening:
    """A socket that keeps what goes through it."""

    def __init__(self, inner, capture, venue_port):
        self.inner, self.capture, self.port = inner, capture, venue_port
        self.own = inner.getsockname()[1]

    def send(self, data):
        self.capture.add(data, self.own, self.port)
        return self.inner.send(data)

    def recv(self, size):
        data = self.inner.recv(size)
        self.capture.add(data, self.port, self.own)
        return data

    def fileno(self):
        return self.inner.fileno()

    def close(self):
        self.inner.close()


class Client(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.venue = Venue()
        cls.addClassCleanup(cls.venue.stop)

    def setUp(self):
        # The box refuses new risk when its last price is five seconds old.
        self.venue.oracle(INDEX_MICRO)
        self.quiet()

    def quiet(self):
        """No order rests, and no session is there whose end would cancel one."""
        self.mine = set()
        self.venue.wait(lambda status: status["sessions"] == 0 and status["live_orders"] == 0)

    def identity(self, member, **changes):
        values = {"venue": self.venue.address, "venue_key": public(VENUE), "member": member, "key": key(member)}
        return deltabox.Identity(**(values | changes))

    def session(self, member, **options):
        session = deltabox.Session(self.identity(member), **options)
        session.login()
        self.addCleanup(self.leave, session)
        return session

    @staticmethod
    def leave(session):
        if session.socket.fileno() >= 0:
            session.terminate()

    def order(self, account, side, price, lots, **more):
        values = {"clOrdId": time.time_ns(), "account": account, "side": side, "quantity": lots}
        self.mine.add(values["clOrdId"])
        return values | {"price": price * deltabox.E9} | more

    def poll(self, session, seconds):
        """Reports but those of a session before, which may come late: they wait until they are durable."""
        got = [(name, values) for _, name, values in session.poll(seconds)]
        return [(name, values) for name, values in got if name != "Canceled" or values["clOrdId"] in self.mine]

    def reports(self, session, count):
        got, until = [], time.monotonic() + 10
        while len(got) < count:
            self.assertLess(time.monotonic(), until, got)
            got += self.poll(session, 0.1)
        return got

    def silence(self, session, seconds=0.3):
        """Whatever comes in this time without a request of ours."""
        until, got = time.monotonic() + seconds, []
        while time.monotonic() < until:
            got += self.poll(session, 0.05)
        return got

    def counter(self, name):
        return self.venue.admin("GET", "/v1/status")["datagrams"][name]

    def counted(self, name, want):
        """The venue publishes its counters a little later."""
        self.venue.wait(lambda status: status["datagrams"][name] >= want)
        self.assertEqual(self.counter(name), want, name)

    # Trading, by the program as a user starts it

    def start(self, member, *words, **changes):
        key_file = self.venue.path / f"member{member}.key"
        key_file.write_text((bytes([changes.get("seed", member)]) * 32).hex())
        venue_key = changes.get("venue_key", public(VENUE)).hex()
        address = "{}:{}".format(*self.venue.address)
        command = [sys.executable, str(HERE / "deltabox.py"), address, venue_key, str(member), str(key_file)]
        return subprocess.Popen([*command, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def ended(self, process):
        text, _ = process.communicate(timeout=30)
        return process.returncode, text

    def test_two_members_trade_and_print_their_fills(self):
        maker = self.start(1, "1", "sell", "5", "100000.5", "--seconds", "2", "--suite", "gmac")
        said = ""
        while "accepted" not in said:
            line = maker.stdout.readline()
            said += line
            self.assertTrue(line, said)
        self.assertIn("5 lots at 100000.5", said)
        code, text = self.ended(self.start(2, "3", "buy", "2", "100001", "--suite", "siphash"))
        self.assertEqual(code, 0, text)
        self.assertRegex(text, r"connected, connection 0x[0-9a-f]+, suite 2\n")
        self.assertRegex(text, r"\d+ accepted: order \d+, 2 lots at 100001\n")
        self.assertRegex(text, r"\d+ filled: order \d+, 2 lots at 100000.5, 0 left, as taker, trade \d+\n")
        code, text = self.ended(maker)
        self.assertEqual(code, 0, text)
        self.assertRegex(text, r"filled: order \d+, 2 lots at 100000.5, 3 left, as maker, trade \d+\n")
        self.assertRegex(text, r"canceled: order \d+, 3 lots, 0 left, Requested\n$")

    def test_a_bad_order_is_told_by_its_code(self):
        code, text = self.ended(self.start(1, "1", "buy", "1", "100000.3"))
        self.assertEqual(code, 0, text)
        self.assertIn("rejected with code 13: PriceOffTick", text)
        # Account 3 is of the other member.
        code, text = self.ended(self.start(1, "3", "buy", "1", "100000"))
        self.assertIn("rejected with code 3: UnknownAccount", text)

    # Login

    def test_a_wrong_key_is_refused(self):
        code, text = self.ended(self.start(1, "1", "buy", "1", "1", seed=77))
        self.assertEqual((code, text), (1, "login refused with code 4: BadSignature\n"))
        code, text = self.ended(self.start(1, "1", "buy", "1", "1", venue_key=public(8)))
        self.assertEqual((code, text), (1, "login refused with code 2: WrongVenueKey\n"))
        code, text = self.ended(self.start(1, "1", "buy", "1", "1", "--key-id", "2"))
        self.assertEqual((code, text), (1, "login refused with code 3: UnknownKey\n"))

    def refused(self, session):
        self.addCleanup(session.socket.close)
        with self.assertRaises(deltabox.Refused) as caught:
            session.login()
        return caught.exception.name

    def test_a_wrong_clock_and_a_used_session_id_are_refused(self):
        session = deltabox.Session(self.identity(TAKER))
        session.clock_ns = lambda: time.time_ns() - 6 * 10**9
        self.assertEqual(self.refused(session), "StaleTime")
        first = self.session(TAKER)
        again = deltabox.Session(self.identity(TAKER))
        again.clock_ns = lambda: first.session_id * 1000
        self.assertEqual(self.refused(again), "SessionIdUsed")
        self.assertEqual(self.refused(deltabox.Session(self.identity(TAKER), suites=(5,))), "NoCommonSuite")
        too_slow = deltabox.Session(self.identity(TAKER), keep_alive_ms=10_001)
        self.assertEqual(self.refused(too_slow), "KeepAliveOutOfRange")

    def test_a_response_that_another_key_signed_is_not_taken(self):
        session = deltabox.Session(self.identity(MAKER))
        self.addCleanup(session.socket.close)
        read = session.read_response

        def forged(data, secret, signed):
            if session.schema.decode(data[34:-16])[0] == "NegotiateResponse":
                data = data[:-17] + bytes([data[-17] ^ 1]) + data[-16:]
            return read(data, secret, signed)

        session.read_response = forged
        with self.assertRaises(TimeoutError):
            session.login(timeout=1)

    def test_a_newer_login_takes_the_session_over(self):
        first = self.session(MAKER)
        self.session(MAKER)
        with self.assertRaisesRegex(deltabox.Ended, "Replaced"):
            self.silence(first, 5)

    # Datagrams

    def test_a_wrong_tag_is_silent_and_counted_and_burns_no_number(self):
        for suite in (deltabox.GMAC, deltabox.SIPHASH):
            session = self.session(MAKER, suites=(suite,))
            bad_tags, replayed = self.counter("bad_tag"), self.counter("replayed")
            order = session.schema.encode("NewOrder", **self.order(1, 0, 99_000, 1))
            good = session.sealed(deltabox.DATA, session.next_request, [order])
            for at in (len(good) - 1, 60):
                bad = bytearray(good)
                bad[at] ^= 1
                session.socket.send(bad)
            self.assertEqual(self.silence(session), [])
            self.counted("bad_tag", bad_tags + 2)
            # Its packet number is still good; a second time it is not.
            session.next_request += 1
            session.socket.send(good)
            self.assertEqual([name for name, _ in self.reports(session, 1)], ["Accepted"])
            session.socket.send(good)
            self.assertEqual(self.silence(session), [])
            self.counted("replayed", replayed + 1)
            session.terminate()
            self.quiet()

    def test_a_skipped_request_is_dead_and_an_old_one_is_dropped(self):
        session = self.session(MAKER)
        first = session.next_request
        late = session.schema.encode("NewOrder", **self.order(1, 0, 99_000, 1))
        session.next_request += 1
        session.send("NewOrder", **self.order(1, 0, 98_000, 1))
        (_, lost), (name, accepted) = self.reports(session, 2)
        self.assertEqual((lost["fromSeqNo"], lost["count"]), (first, 1))
        self.assertEqual((name, accepted["clientSeq"]), ("Accepted", first + 1))
        old = self.counter("duplicate_requests")
        session.socket.send(session.sealed(deltabox.DATA, first, [late]))
        self.assertEqual(self.silence(session), [])
        self.counted("duplicate_requests", old + 1)
        # A loss at the end of the flow shows by a heartbeat.
        session.next_request += 1
        session.socket.send(session.sealed(deltabox.HEARTBEAT, session.next_request, []))
        ((name, lost),) = self.reports(session, 1)
        self.assertEqual((name, lost["fromSeqNo"], lost["count"]), ("NotApplied", first + 2, 1))

    def test_lost_reports_are_had_again(self):
        session = self.session(TAKER)
        take = session.take
        dropped = []

        def lossy(data):
            if data[1] == deltabox.DATA and not dropped:
                dropped.append(data)
            else:
                take(data)

        session.take = lossy
        for price in (97_000, 97_001):
            session.send("NewOrder", **self.order(3, 0, price, 1))
            time.sleep(0.05)
        prices = [values["price"] // deltabox.E9 for _, values in self.reports(session, 2)]
        self.assertEqual((prices, len(dropped)), ([97_000, 97_001], 1))
        session.terminate()

    def test_a_second_login_has_the_reports_of_the_day(self):
        one = self.session(TAKER)
        one.send("NewOrder", **self.order(3, 0, 96_000, 1))
        self.reports(one, 1)
        self.assertTrue(one.terminate(), "the venue confirms")
        two = self.session(TAKER, first_report=1)
        names, until = [], time.monotonic() + 10
        while two.next_report < two.announced or not names:
            self.assertLess(time.monotonic(), until, names)
            names += [name for _, name, _ in two.poll(0.1)]
        self.assertIn("DepositReport", names)
        self.assertIn("Accepted", names)
        # The first session said goodbye, and asked for all orders to be cancelled then.
        self.assertIn("Canceled", names)

    def test_a_mass_quote_is_answered_side_by_side(self):
        session = self.session(MAKER)
        schema, untouched = session.schema, -(2**63)
        name = time.time_ns()
        self.mine.add(name)

        def entry(instrument, bid, ask):
            (bid_price, bid_lots), (ask_price, ask_lots) = bid, ask
            prices = {"bidPrice": bid_price * deltabox.E9, "askPrice": ask_price * deltabox.E9}
            return {"instrument": instrument, "bidQuantity": bid_lots, "askQuantity": ask_lots} | prices

        both = entry(0, (99_000, 2), (101_000, 3))
        # The second one's ask is outside the collar, and its bid is not named.
        number = session.send("MassQuote", clOrdId=name, account=1, entries=[both, entry(1, (0, untouched), (1, 1))])
        (one, perp), (two, option), (end, ack) = self.reports(session, 3)
        self.assertEqual((one, two, end), ("QuoteStatus", "QuoteStatus", "MassQuoteAck"))
        self.assertEqual([(m["clientSeq"], m["entry"]) for m in (perp, option)], [(number, 0), (number, 1)])
        self.assertEqual((ack["clientSeq"], ack["entries"], ack["refused"]), (number, 2, 1))
        self.assertEqual((perp["bidStatus"], perp["askStatus"]), (1000, 1000))
        refused = schema.enums["RejectCode"][option["askStatus"]]
        self.assertEqual((option["bidStatus"], refused), (0, "PriceOutOfCollar"))
        self.venue.wait(lambda status: status["live_orders"] == 2)
        # The bid again keeps its place and its name; the ask is withdrawn.
        number = session.send("MassQuote", clOrdId=name + 1, account=1, entries=[both | {"askQuantity": 0}])
        (_, again), (_, ack) = self.reports(session, 2)
        self.assertEqual((again["bidStatus"], again["askStatus"]), (1001, 1002))
        self.assertEqual((again["bidOrderId"], again["askOrderId"]), (perp["bidOrderId"], 0))
        self.assertEqual((ack["clientSeq"], ack["refused"]), (number, 0))
        self.mine.add(name + 1)
        session.terminate()

    # What tshark sees of it

    def test_tshark_shows_a_session_as_it_went(self):
        capture = Capture()
        session = deltabox.Session(self.identity(TAKER))
        session.socket = Listening(session.socket, capture, ORDER_PORT)
        session.login()
        session.send("NewOrder", **self.order(3, 0, 94_000, 7))
        self.reports(session, 1)
        self.assertTrue(session.terminate())
        names = ["deltabox.template", "deltabox.conn_id", "deltabox.new_order.quantity", "deltabox.accepted.quantity"]
        frames = capture.fields(self.venue.path, names)
        # Heartbeats have no message; what was sent twice or came late may stand in between.
        templates = [template for (template,) in (frame[0] for frame in frames if frame[0])]
        once = [template for i, template in enumerate(templates) if template not in templates[:i]]
        self.assertEqual([t for t in once if t in "1 2 3 5 6 100 200 8".split()], "1 2 3 5 6 100 200 8".split())
        self.assertEqual({frame[1][0] for frame in frames}, {"0", str(session.conn_id)})
        self.assertEqual([frame[2] for frame in frames if frame[2]], [["7"]])
        self.assertEqual([frame[3] for frame in frames if frame[3]], [["7"]])

    def collected(self):
        """What came on the lines since the last time, by port."""
        packets = {}
        for line, port in zip(self.venue.lines, FEED_PORTS):
            packets[port] = []
            with contextlib.suppress(BlockingIOError):
                while True:
                    packets[port].append(line.recv(2048))
        return packets

    def test_tshark_reads_the_live_feed_as_moldudp64(self):
        self.collected()
        maker, taker = self.session(MAKER), self.session(TAKER)
        maker.send("NewOrder", **self.order(1, 1, 100_000, 5))
        self.reports(maker, 1)
        taker.send("NewOrder", **self.order(3, 0, 100_000, 2))
        self.reports(taker, 2)
        capture, packets = Capture(), {port: [] for port in FEED_PORTS}
        until = time.monotonic() + 10
        while not (packets[CHECKPOINTS] and self.has_trade(packets) and len(packets[SNAPSHOTS]) > 3):
            self.assertLess(time.monotonic(), until, {port: len(got) for port, got in packets.items()})
            time.sleep(0.05)
            for port, got in self.collected().items():
                packets[port] += got
        for port, got in packets.items():
            for packet in got:
                capture.add(packet, 4001, port)
        # The same once more, by re-request.
        head = packets[LINE_A][0][:18]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.settimeout(5)
            asker.connect(("127.0.0.1", self.venue.ports[REQUEST_PORT]))
            request = head[:10] + (1).to_bytes(8, "big") + (2).to_bytes(2, "big")
            asker.send(request)
            capture.add(request, 50_000, REQUEST_PORT)
            capture.add(asker.recv(2048), REQUEST_PORT, 50_000)

        names = ["udp.dstport", "moldudp64.session", "moldudp64.sequence", "moldudp64.count", "deltabox.template"]
        names += ["deltabox.order_executed.price", "frame.protocols"]
        frames = capture.fields(self.venue.path, names, "-d", "udp.port==4001-4006,moldudp64")
        self.assertEqual(len(frames), sum(map(len, packets.values())) + 2)
        self.assertEqual({tuple(frame[6]) for frame in frames}, {("eth:ethertype:ip:udp:moldudp64",)})
        sessions = {LINE_A: "DELTA00001", LINE_B: "DELTA00001", SNAPSHOTS: "DELTASNAP1", CHECKPOINTS: "DELTACHECK"}
        for port in FEED_PORTS:
            own = [frame for frame in frames if frame[0] == [str(port)]]
            self.assertEqual({frame[1][0] for frame in own}, {sessions[port]})
            following = int(own[0][2][0])
            for _, _, (sequence, *_), (count,), templates, *_ in own:
                self.assertEqual((int(sequence), len(templates)), (following, int(count)))
                following += int(count)
        shown = {port: {t for frame in frames if frame[0] == [str(port)] for t in frame[4]} for port in FEED_PORTS}
        self.assertLessEqual({"310", "314"}, shown[LINE_A])
        self.assertEqual(shown[LINE_A], shown[LINE_B])
        self.assertLessEqual({"330", "331"}, shown[SNAPSHOTS])
        self.assertEqual(shown[CHECKPOINTS], {"340"})
        prices = {price for frame in frames for price in frame[5]}
        self.assertEqual(prices, {str(100_000 * deltabox.E9)})
        self.assertEqual([len(frame[4]) for frame in frames[-2:]], [0, 2])
        self.check_checkpoint(packets[CHECKPOINTS])

    def has_trade(self, packets):
        lines = (b"".join(packets[port]) for port in (LINE_A, LINE_B))
        executed = deltabox.SBE_HEAD.pack(64, 314, 0xDB01, 1)
        return all(executed in line for line in lines)

    def check_checkpoint(self, packets):
        """The venue's key signs what the feed has said."""
        data = next(packet[22:] for packet in packets if packet[18:20] != b"\0\0")
        name, values = deltabox.Schema().decode(data)
        self.assertEqual((name, values["feedSession"]), ("FeedCheckpoint", b"DELTA00001".ljust(16, b"\0")))
        block = data[deltabox.SBE_HEAD.size :][:160]
        key(VENUE).public_key().verify(values["signature"], b"deltabox checkpoint v1" + block)

    # Keeping alive

    def test_heartbeats_keep_a_session_and_silence_ends_it(self):
        session = self.session(MAKER, keep_alive_ms=150)
        session.send("NewOrder", **self.order(1, 0, 95_000, 1))
        self.assertEqual([name for name, _ in self.reports(session, 1)], ["Accepted"])
        # Six intervals in which neither side has anything to say.
        self.assertEqual(self.silence(session, 0.9), [])
        session.send("Cancel", clOrdId=time.time_ns(), origClOrdId=1, account=1)
        self.assertEqual([name for name, _ in self.reports(session, 1)], ["Rejected"])
        time.sleep(0.9)
        with self.assertRaisesRegex(deltabox.Ended, "TimedOut"):
            self.silence(session, 2)

    # Arithmetic

    def test_hashes_and_tags_are_the_published_ones(self):
        # Of the reference implementations, with the input 00, 01, 02, …
        count = bytes(range(64))
        tag = deltabox.siphash_2_4_128(count[:16], count[:15])
        self.assertEqual(tag.hex(), "5493e99933b0a8117e08ec0f97cfc3d9")
        empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
        self.assertEqual(deltabox.blake3(b"").hex(), empty)
        # RFC 5869, third case, cut to a block.
        okm = deltabox.hkdf_sha256(b"\x0b" * 22, b"\0" * 32, b"", 32)
        self.assertEqual(okm.hex()[:40], "8da4e775a563c18f715f802a063c5a31b8a11f5c"[:40])

    def test_a_packet_number_is_new_once_within_the_window(self):
        window = deltabox.Window()
        self.assertFalse(window.is_new(0))
        for number in (1, 3, 2, 70):
            self.assertTrue(window.is_new(number))
            window.mark(number)
            self.assertFalse(window.is_new(number))
        self.assertTrue(window.is_new(7))
        self.assertFalse(window.is_new(6))
        self.assertFalse(window.is_new(struct.unpack("<Q", bytes(8))[0]))


if __name__ == "__main__":
    unittest.main()
