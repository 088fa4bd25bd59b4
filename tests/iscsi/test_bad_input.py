# SPDX-License-Identifier: LGPL-2.1-or-later
"""An initiator that breaks the rules is answered as the RFC says or loses its connection; the log names
it and the reason, and nobody else notices."""

import os
import random
import re
import struct
import unittest

from tests.iscsi import pdu
from tests.iscsi.initiator import (
    FULL_FEATURE,
    GOOD,
    OPERATIONAL,
    SECURITY,
    Closed,
    Credentials,
    Disk,
    LoginRefused,
    Session,
    Wire,
)
from tests.iscsi.pdu import FINAL, IMMEDIATE, NO_TAG, Pdu
from tests.iscsi.target import Target

SECRET = "a secret of initiators"
OWN_SECRET = "the target's own one"


class BadInput(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.target = cls.enterClassContext(Target("--memory", "16M"))
        # Each test sees that this one, who does nothing wrong, is served on.
        cls.witness = cls.enterClassContext(Disk(cls.target.address, cls.target.iqn))

    def tearDown(self):
        self.assertTrue(self.target.running(), self.target.log())
        data = os.urandom(4096)
        self.witness.write(64, data)
        self.assertEqual(self.witness.read(64, 8), data)

    def disk(self, **more):
        return self.enterContext(Disk(self.target.address, self.target.iqn, **more))

    def wire(self):
        return self.enterContext(Wire(self.target.address))

    def assert_logged(self, peer, reason):
        self.target.wait_for_log(rf"(?im)^.*{re.escape(peer)}\b.*(?:{reason}).*$")

    def login(self, stage, following, keys, wire=None, **fields):
        """The answer to one login request made by hand; None: the connection was closed."""
        wire = wire or self.wire()
        request = Pdu(
            pdu.LOGIN | IMMEDIATE,
            FINAL | stage << 2 | following,
            lun=0x8012_3456_789A_0000,
            tag=1,
            rest=struct.pack(">HxxII", 0, 1, 0),
            data=pdu.text(keys),
        )
        for field, value in fields.items():
            setattr(request, field, value)
        wire.send(request)
        try:
            return wire.receive()
        except Closed:
            return None

    def assert_refused(self, status, reason, keys, stage=SECURITY, following=OPERATIONAL, **fields):
        wire = self.wire()
        answer = self.login(stage, following, keys, wire, **fields)
        self.assertIsNotNone(answer, f"closed instead of refused: {self.target.log()[-500:]}")
        self.assertEqual(answer.opcode, pdu.LOGIN_RESPONSE)
        self.assertEqual(int.from_bytes(answer.rest[16:18], "big"), status)
        self.assertTrue(wire.closed_by_target())
        self.assert_logged(wire.peer, reason)


class Logins(BadInput):
    def test_what_is_missing_or_unknown_is_named(self):
        names = {"InitiatorName": "iqn.2026-11.x:y", "TargetName": self.target.iqn}
        for status, reason, keys in (
            (0x0207, "InitiatorName", {"TargetName": self.target.iqn}),
            (0x0207, "TargetName", {"InitiatorName": "iqn.2026-11.x:y"}),
            (0x0203, "target", {**names, "TargetName": "iqn.2026-11.x:nobody"}),
            (0x0209, "SessionType|session type", {**names, "SessionType": "Odd"}),
        ):
            with self.subTest(reason=reason):
                self.assert_refused(status, reason, keys)

    def test_text_that_is_none(self):
        names = f"InitiatorName=iqn.2026-11.x:y\0TargetName={self.target.iqn}\0".encode()
        for reason, text in (
            ("=|key", names + b"nothing\0"),
            ("key", names + b"=value\0"),
            ("", names + bytes(range(1, 256))),
            ("", names + os.urandom(4000)),
            ("key", names + b"K" * 64 + b"=1\0"),
            ("InitiatorName|twice", names + b"InitiatorName=iqn.2026-11.x:z\0"),
        ):
            with self.subTest(text=text[-40:]):
                self.assert_refused(0x0200, reason, text)

    def test_contradictions_between_operational_keys(self):
        names = f"InitiatorName=iqn.2026-11.x:y\0TargetName={self.target.iqn}\0".encode()
        for reason, text in (
            ("InitialR2T", b"InitialR2T=Yes\0InitialR2T=No\0"),
            ("HeaderDigest", b"HeaderDigest=None\0HeaderDigest=CRC32C\0"),
        ):
            with self.subTest(text=text):
                self.assert_refused(0x0200, reason, names + text, OPERATIONAL, FULL_FEATURE)

    def test_a_session_that_does_not_exist_and_a_version_from_the_future(self):
        names = {"InitiatorName": "iqn.2026-11.x:y", "TargetName": self.target.iqn}
        self.assert_refused(0x020A, "session", names, OPERATIONAL, FULL_FEATURE, lun=0x8012_3456_789A_7777)
        self.assert_refused(0x0205, "version", names, byte2=9, byte3=9)

    def test_login_text_without_end(self):
        wire = self.wire()
        names = f"InitiatorName=iqn.2026-11.x:y\0TargetName={self.target.iqn}\0".encode()
        for number in range(2000):
            text = (names if number == 0 else b"") + b"X-%d=" % number + b"a" * 4000 + b"\0"
            answer = self.login(SECURITY, 0, text, wire, flags=0x40 | SECURITY << 2)
            if answer is None or int.from_bytes(answer.rest[16:18], "big"):
                break
        else:
            self.fail("8 MB of login text were taken")
        self.assertLess(number, 200)
        self.assertTrue(wire.closed_by_target())
        self.assert_logged(wire.peer, "long|text|end")

    def test_a_login_that_never_comes_to_its_end(self):
        wire = self.wire()
        names = {"InitiatorName": "iqn.2026-11.x:y", "TargetName": self.target.iqn}
        for number in range(2000):
            answer = self.login(SECURITY, 0, names if number == 0 else {}, wire, flags=SECURITY << 2)
            if answer is None or int.from_bytes(answer.rest[16:18], "big"):
                break
        else:
            self.fail("2000 login requests were taken")
        self.assert_logged(wire.peer, "end|many")

    def test_what_is_no_login(self):
        requests = (
            b"GET / HTTP/1.1\r\nHost: example.org\r\nUser-Agent: curl\r\n\r\n",
            bytes(48),
            b"\xff" * 48,
            Pdu(pdu.SCSI_COMMAND, tag=1, rest=bytes(12) + b"\x12\0\0\0\x24\0").encode(),
            # A login of 16 MiB, of which nothing comes.
            Pdu(pdu.LOGIN | IMMEDIATE, FINAL | 1, tag=1, length=0xFFFFFF).encode(),
            # Additional header segments where there are none.
            Pdu(pdu.LOGIN | IMMEDIATE, FINAL | 1, tag=1, additional=bytes(1020)).encode(),
        )
        # All at once: those that promise more bytes than they send are closed when the login's time is up.
        wires = [self.wire() for _ in requests]
        for wire, request in zip(wires, requests):
            wire.send(request)
        for wire, request in zip(wires, requests):
            with self.subTest(request=request[:20]):
                self.assertTrue(wire.closed_by_target())
                self.assert_logged(wire.peer, "login|long|bytes|opcode|segment")

    def test_noise(self):
        for seed in range(60):
            source = random.Random(seed)
            with self.subTest(seed=seed):
                wire = self.wire()
                wire.send(source.randbytes(source.randrange(1, 5000)))
                wire.cut()


class Chap(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        secrets = {"WNBD_CHAP_SECRET": SECRET, "WNBD_MUTUAL_SECRET": OWN_SECRET}
        cls.target = cls.enterClassContext(
            Target("--memory", "16M", "--chap-user", "me", "--mutual-user", "you", environment=secrets)
        )

    def login(self, credentials, **more):
        return Disk(self.target.address, self.target.iqn, credentials=credentials, **more)

    def test_the_right_secret_and_the_targets_proof(self):
        for credentials in (Credentials("me", SECRET), Credentials("me", SECRET, "you", OWN_SECRET)):
            self.login(credentials).logout()

    def test_whoever_does_not_know_the_secret_stays_outside(self):
        for credentials in (
            Credentials("me", SECRET + " "),
            Credentials("me", "x" * len(SECRET)),
            Credentials("you", SECRET),
            Credentials("you", OWN_SECRET),
            None,
        ):
            with self.subTest(credentials=credentials), self.assertRaises(LoginRefused) as refused:
                self.login(credentials)
            self.assertEqual(refused.exception.status, 0x0201)
        self.assertNotIn(SECRET, self.target.log())
        self.target.wait_for_log(r"(?i)127\.0\.0\.1:\d+.*(?:chap|authenticat)")

    def test_a_stranger_cannot_take_over_a_session(self):
        isid = b"\x80" + os.urandom(5)
        with self.login(Credentials("me", SECRET), isid=isid) as disk:
            for more in ({}, {"tsih": disk.tsih}):
                with self.assertRaises(LoginRefused):
                    self.login(Credentials("me", "x" * len(SECRET)), isid=isid, **more)
            data = os.urandom(512)
            disk.write(0, data)
            self.assertEqual(disk.read(0, 1), data)

    def test_the_targets_own_answer_cannot_be_sent_back(self):
        """A reflected challenge: the target is asked to answer its own."""
        wire = self.enterContext(Reflecting(self.target))
        with self.assertRaises((LoginRefused, Closed)):
            wire.reflect()
        self.target.wait_for_log(rf"(?i){wire.peer}\b.*(?:challenge|reflect)")


class Reflecting(Session):
    def __init__(self, target):
        self.own = target
        super().__init__(target.address, target.iqn)

    def login(self, credentials, keys):
        pass

    def reflect(self):
        names = {"InitiatorName": self.initiator, "TargetName": self.target, "SessionType": "Normal"}
        self.login_step(SECURITY, None, {**names, "AuthMethod": "CHAP"})
        _, asked = self.login_step(SECURITY, None, {"CHAP_A": "5"})
        self.login_step(
            SECURITY,
            OPERATIONAL,
            {
                "CHAP_N": "me",
                "CHAP_R": "0x" + bytes(16).hex(),
                "CHAP_I": asked["CHAP_I"],
                "CHAP_C": asked["CHAP_C"],
            },
        )


class FullFeature(BadInput):
    def assert_ended(self, disk, reason):
        """The connection is closed, perhaps after a Reject, and the log says why."""
        try:
            while disk.receive().opcode == pdu.REJECT:
                pass
            self.fail("the connection goes on")
        except Closed:
            pass
        self.assert_logged(disk.peer, reason)

    def assert_rejected(self, disk, reason_code):
        answer = disk.answer()
        self.assertEqual(answer.opcode, pdu.REJECT, answer)
        self.assertEqual(answer.byte2, reason_code)
        self.assertGreaterEqual(len(answer.data), 48, "the header that was rejected")

    def test_a_pdu_that_is_longer_than_was_agreed(self):
        disk = self.disk()
        disk.send(Pdu(pdu.NOP_OUT, tag=7, rest=struct.pack(">I", NO_TAG) + disk.numbers(), length=0xFFFFFF))
        self.assert_ended(disk, "long|bytes|length")

    def test_header_segments_that_are_not_expected(self):
        disk = self.disk()
        command = disk.command_pdu(bytes(6))
        command.additional = bytes([0xFF, 0xFF, 0x33, 0]) * 255
        disk.send(command)
        answer = disk.answer()
        # INVALID FIELD IN COMMAND INFORMATION UNIT
        self.assertEqual((answer.opcode, answer.byte3, answer.data[14:16]), (pdu.SCSI_RESPONSE, 2, b"\x0e\x03"))
        self.assertEqual(disk.command(bytes(6)).status, GOOD)

    def test_unknown_opcodes_and_snack_are_rejected_and_the_session_goes_on(self):
        disk = self.disk()
        for opcode in (0x1C, pdu.SNACK):
            with self.subTest(opcode=opcode):
                disk.send(Pdu(opcode, tag=7, rest=struct.pack(">I", NO_TAG) + disk.numbers(immediate=True)))
                answer = disk.answer()
                self.assertEqual((answer.opcode, answer.byte2 in (3, 4, 5)), (pdu.REJECT, True), answer)
        self.assertEqual(disk.command(bytes(6)).status, GOOD)
        self.assert_logged(disk.peer, "opcode|reject|snack|command")

    def test_data_that_nobody_asked_for(self):
        disk = self.disk()
        disk.send(disk.data_out_pdu(0x1234, NO_TAG, bytes(512), 0))
        self.rejected_or_ended(disk, "data|asked|task")
        disk = self.disk()
        disk.send(disk.data_out_pdu(0x1234, 0x5678, bytes(512), 0))
        self.rejected_or_ended(disk, "data|asked|task|R2T")

    def rejected_or_ended(self, disk, reason):
        try:
            self.assert_rejected(disk, 0x04)
            self.assertEqual(disk.command(bytes(6)).status, GOOD)
        except Closed:
            pass
        self.assert_logged(disk.peer, reason)

    def asked(self, disk, length=8192):
        """A write for which the target has asked for all data."""
        request = disk.command_pdu(disk.write_cdb(0, length // 512), length, b"")
        disk.send(request)
        answer = disk.answer(request.tag)
        self.assertEqual(answer.opcode, pdu.R2T, answer)
        return request, answer

    def test_data_that_is_not_what_was_asked_for(self):
        keys = {"InitialR2T": "Yes", "ImmediateData": "No"}
        self.witness.write(0, bytes(8192))
        for name, target_tag, offset, number, length in (
            ("the wrong transfer tag", 1, 0, 0, 8192),
            ("beyond what was asked for", 0, 4096, 0, 8192),
            ("an offset far away", 0, 0xFFFFF000, 0, 4096),
            ("the wrong DataSN", 0, 0, 5, 8192),
            ("too little", 0, 0, 0, 512),
        ):
            with self.subTest(name):
                disk = self.disk(keys=keys)
                request, asked = self.asked(disk)
                tag = asked.word(20) ^ 0x01010101 * target_tag
                disk.send(disk.data_out_pdu(request.tag, tag, b"x" * length, offset, number))
                try:
                    answer = disk.answer()
                    if answer.opcode == pdu.REJECT:
                        answer = disk.answer()
                    self.assertEqual(answer.opcode, pdu.SCSI_RESPONSE, answer)
                    self.assertNotEqual((answer.byte2, answer.byte3), (0, GOOD))
                except Closed:
                    pass
                self.assert_logged(disk.peer, "")
                self.assertEqual(self.witness.read(0, 16), bytes(8192), "it was written")

    def test_more_immediate_data_than_the_command_moves(self):
        disk = self.disk()
        self.witness.write(0, bytes(8192))
        disk.send(disk.command_pdu(disk.write_cdb(0, 1), 512, b"y" * 4096))
        answer = disk.answer()
        # UNEXPECTED UNSOLICITED DATA
        self.assertEqual((answer.opcode, answer.byte3, answer.data[14:16]), (pdu.SCSI_RESPONSE, 2, b"\x0c\x0c"))
        self.assertEqual(self.witness.read(0, 8), bytes(8 * 512))

    def test_numbers_outside_the_window_are_ignored(self):
        disk = self.disk()
        right = disk.command_sn
        for wrong in (disk.max_command_sn + 1, right - 1, right + 0x40000000, right + 0x80000000):
            disk.command_sn = wrong & 0xFFFFFFFF
            disk.send(disk.command_pdu(disk.write_cdb(0, 1), 512, b"z" * 512))
        disk.command_sn = right
        ping = disk.nop_pdu(data=b"still there?")
        disk.send(ping)
        answer = disk.answer(ping.tag)
        self.assertEqual((answer.opcode, answer.tag, answer.data), (pdu.NOP_IN, ping.tag, b"still there?"))

    def test_commands_are_run_in_the_order_of_their_numbers(self):
        disk = self.disk()
        first, second = b"1" * 512, b"2" * 512
        one = disk.command_pdu(disk.write_cdb(9, 1), 512, first)
        two = disk.command_pdu(disk.write_cdb(9, 1), 512, second)
        disk.send(two)
        disk.send(one)
        tags = [disk.answer().tag, disk.answer().tag]
        self.assertEqual(tags, [one.tag, two.tag])
        self.assertEqual(disk.read(9, 1), second)

    def test_a_tag_that_is_in_use(self):
        disk = self.disk(keys={"InitialR2T": "Yes", "ImmediateData": "No"})
        request, _ = self.asked(disk)
        disk.send(disk.command_pdu(bytes(6), tag=request.tag))
        try:
            answer = disk.answer()
            self.assertTrue(
                answer.opcode == pdu.REJECT and answer.byte2 == 7
                or answer.opcode == pdu.SCSI_RESPONSE and (answer.byte2 or answer.byte3),
                answer,
            )
        except Closed:
            pass
        self.assert_logged(disk.peer, "tag|task")

    def test_text_without_end(self):
        disk = self.disk()
        target_tag = NO_TAG
        for number in range(2000):
            disk.send(disk.text_pdu(b"a" * 8000, target_tag, tag=5, continues=True))
            try:
                answer = disk.answer()
            except Closed:
                break
            if answer.opcode == pdu.REJECT:
                break
            self.assertEqual(answer.opcode, pdu.TEXT_RESPONSE)
            target_tag = answer.word(20)
        else:
            self.fail("16 MB of text were taken")
        self.assertLess(number, 200)
        self.assert_logged(disk.peer, "text")

    def test_digests_that_are_wrong(self):
        keys = {"HeaderDigest": "CRC32C", "DataDigest": "CRC32C"}
        disk = self.disk(keys=keys)
        data = os.urandom(2048)
        disk.write(20, data)
        self.assertEqual(disk.read(20, 4), data)
        broken = bytearray(disk.nop_pdu(data=b"1234").encode(True, True))
        broken[48] ^= 1
        disk.send(bytes(broken))
        self.assert_ended(disk, "digest")
        disk = self.disk(keys=keys)
        broken = bytearray(disk.command_pdu(disk.write_cdb(20, 1), 512, b"w" * 512).encode(True, True))
        broken[-1] ^= 1
        disk.send(bytes(broken))
        self.assert_rejected(disk, 0x02)
        answer = disk.answer()
        # PROTOCOL SERVICE CRC ERROR
        self.assertEqual((answer.opcode, answer.byte3, answer.data[14:16]), (pdu.SCSI_RESPONSE, 2, b"\x47\x05"))
        self.assert_logged(disk.peer, "data digest")
        self.assertEqual(self.witness.read(20, 4), data)

    def test_a_login_in_the_middle_of_a_session(self):
        disk = self.disk()
        disk.send(disk.login_pdu(SECURITY, OPERATIONAL, {"AuthMethod": "None"}))
        self.rejected_or_ended(disk, "login|opcode|place")

    def test_a_second_login_of_the_same_port_takes_the_place_of_the_first(self):
        isid = b"\x80" + os.urandom(5)
        first = self.disk(isid=isid)
        second = self.disk(isid=isid)
        self.assertTrue(first.closed_by_target())
        self.assertEqual(second.command(bytes(6)).status, GOOD)
        self.assert_logged(first.peer, "session|login|reinstat|place")

    def test_the_name_of_another_session_opens_no_door(self):
        first = self.disk(isid=b"\x80" + os.urandom(5))
        for more in (
            {"tsih": first.tsih},
            {"tsih": first.tsih, "isid": first.isid, "initiator": "iqn.2026-11.x:thief"},
        ):
            with self.assertRaises(LoginRefused) as refused:
                Session(self.target.address, self.target.iqn, **more)
            self.assertIn(refused.exception.status, (0x0206, 0x0208, 0x020A))
        # The same ISID under another name is another port.
        self.disk(isid=first.isid, initiator="iqn.2026-11.x:namesake").logout()
        self.assertEqual(first.command(bytes(6)).status, GOOD)

    def test_lun_zero_is_the_only_one(self):
        disk = self.disk()
        for lun in (1 << 48, 0xFFFFFFFFFFFFFFFF, 0x4001 << 48):
            disk.lun = lun
            self.assertEqual(disk.command(bytes(6)).key, 0x052500)
            inquiry = disk.command(bytes([0x12, 0, 0, 0, 36, 0]), room=36)
            self.assertEqual((inquiry.status, inquiry.data[0]), (GOOD, 0x7F))

    def test_as_many_connections_as_one_likes(self):
        wires = [self.wire() for _ in range(300)]
        for wire in wires:
            wire.close()
        self.disk().logout()


del BadInput  # its tests are those of the classes that are made of it

if __name__ == "__main__":
    unittest.main()
