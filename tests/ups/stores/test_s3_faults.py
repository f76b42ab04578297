"""What a bucket may do to its users: they are told what is wrong, and nothing is lost."""

import errno
import hashlib
import logging
import os
import resource
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.buckets import OpenStore, b2_settings
from tests.simulators.b2 import RIGHTS, B2Server
from tests.simulators.courier import Courier, Fault
from ups.errors import ConfigError, StoreError
from ups.store import Download, Upload, open_store
from ups.stores import part_file
from ups.stores.s3 import S3Store
from ups.stores.s3_settings import BucketSettings, Credentials, bucket_settings

LARGE = 11 * 1024 * 1024
"""Three parts."""


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def settings(b2_server: B2Server) -> BucketSettings:
    return b2_settings(b2_server)


@pytest.fixture
def courier(b2_server: B2Server) -> Iterator[Courier]:
    with Courier(b2_server.url) as open_courier:
        yield open_courier


@pytest.fixture
def store(settings: BucketSettings, courier: Courier, open_bucket: OpenStore) -> S3Store:
    return open_bucket(replace(settings, endpoint=courier.url))


class TestRefusals:
    def refusals(self, store: S3Store, tmp_path: Path) -> Iterator[StoreError]:
        """What is said by each of the ways to ask."""
        source = tmp_path / "source"
        source.write_bytes(b"x")
        for call in (
            lambda: list(store.list("a/")),
            lambda: store.find("a/b"),
            lambda: store.read_bytes("a/b"),
            lambda: store.read_range("a/b", 0, 1),
            lambda: store.write_bytes("a/b", b"x"),
            lambda: store.upload(source, "a/b"),
            lambda: store.delete("a/b"),
            lambda: store.delete_all(["a/b"]),
        ):
            with pytest.raises(StoreError) as refused:
                call()
            yield refused.value

    @pytest.mark.parametrize(
        ("credentials", "said"),
        [
            (Credentials("004unknown", "K004secret"), "does not accept the key 004u…"),
            (None, "does not accept the key"),
        ],
    )
    def test_of_a_wrong_key_name_it_and_keep_the_secret(
        self, settings: BucketSettings, open_bucket: OpenStore, tmp_path: Path,
        credentials: Credentials | None, said: str, caplog: pytest.LogCaptureFixture,
    ) -> None:  # fmt: skip
        caplog.set_level(logging.DEBUG, logger="ups")
        wrong = credentials or Credentials(settings.credentials.key_id, "K004wrong-secret")
        store = open_bucket(replace(settings, credentials=wrong))
        for error in self.refusals(store, tmp_path):
            if "find" not in error.message:
                assert error.exit_code == 6
                assert error.hint
            assert wrong.secret not in f"{error.message} {error.hint} {error!r} {store!r} {caplog.text}"
        with pytest.raises(StoreError, match=said):
            store.write_bytes("a/b", b"x")

    def test_of_a_missing_right_name_it(
        self, b2_server: B2Server, open_bucket: OpenStore, tmp_path: Path
    ) -> None:
        bucket = b2_server.new_bucket()
        for missing, call in (
            ("listFiles", lambda store: list(store.list())),
            ("readFiles", lambda store: store.read_bytes("a")),
            ("writeFiles", lambda store: store.write_bytes("a", b"")),
            ("deleteFiles", lambda store: store.delete_all(["a"])),
        ):
            rights = [right for right in RIGHTS if right != missing]
            key = b2_server.new_key(bucket, prefix="pre/fix/", rights=rights)
            with pytest.raises(StoreError, match="may not") as refused:
                call(open_bucket(b2_settings(b2_server, key)))
            assert missing in refused.value.hint

    def test_of_a_place_outside_of_the_keys_prefix(self, b2_server: B2Server, open_bucket: OpenStore) -> None:
        key = b2_server.new_key(b2_server.new_bucket(), prefix="pre/fix/")
        store = open_bucket(b2_settings(b2_server, key, prefix="else/"))
        with pytest.raises(StoreError, match="may not"):
            list(store.list())

    def test_of_an_absent_bucket(self, settings: BucketSettings, courier: Courier, store: S3Store) -> None:
        courier.faults.append(Fault("PUT", status=404, code="NoSuchBucket"))
        with pytest.raises(StoreError, match=f"no bucket {settings.bucket}") as refused:
            store.write_bytes("a", b"")
        assert "B2_BUCKET" in refused.value.hint

    def test_of_a_clock_that_is_wrong(self, courier: Courier, store: S3Store) -> None:
        courier.faults += [Fault("PUT", status=403, code="RequestTimeTooSkewed"),
                           Fault("GET", status=403, code="RequestTimeTooSkewed", times=9)]  # fmt: skip
        with pytest.raises(StoreError, match="clock"):
            store.write_bytes("a", b"")
        with pytest.raises(StoreError, match="clock"):
            list(store.list())


class TestTheWay:
    def test_to_nowhere_says_so(self, settings: BucketSettings, open_bucket: OpenStore) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        store = open_bucket(replace(settings, endpoint=endpoint))
        for call in (lambda: store.read_bytes("a"), lambda: list(store.list())):
            with pytest.raises(StoreError, match="cannot be reached") as refused:
                call()
            assert endpoint in refused.value.message

    def test_to_a_name_that_nobody_has_says_so(
        self, settings: BucketSettings, open_bucket: OpenStore
    ) -> None:
        store = open_bucket(replace(settings, endpoint="http://s3.us-west-oo4.invalid"))
        for call in (lambda: store.read_bytes("a"), lambda: list(store.list())):
            with pytest.raises(StoreError, match="no host of the name") as refused:
                call()
            assert "B2_S3_ENDPOINT" in refused.value.hint

    @pytest.mark.parametrize("status", [503, 429])
    def test_through_a_storm_ends_in_time(
        self, courier: Courier, store: S3Store, tmp_path: Path, status: int
    ) -> None:
        code = "SlowDown" if status == 503 else "TooManyRequests"
        source = tmp_path / "source"
        source.write_bytes(os.urandom(LARGE))
        courier.faults += [Fault(method, times=2, status=status, code=code) for method in ("PUT", "POST")]
        digest = store.upload(source, "a/b")
        courier.faults.append(Fault("GET", times=2, status=status, code=code))
        store.download("a/b", tmp_path / "target", sha256=digest)
        assert (tmp_path / "target").read_bytes() == source.read_bytes()
        assert courier.refused == 6

    def test_through_a_storm_without_end_is_given_up(self, courier: Courier, store: S3Store) -> None:
        courier.faults += [Fault(method, times=99, status=503, code="SlowDown") for method in ("PUT", "GET")]
        for call in (lambda: store.write_bytes("a", b""), lambda: list(store.list())):
            with pytest.raises(StoreError, match="too busy") as refused:
                call()
            assert refused.value.exit_code == 6

    @pytest.mark.parametrize("size", [200_000, LARGE])
    @pytest.mark.parametrize("fault", ["cut_after", "stall_after"])
    def test_that_breaks_off_is_gone_on_with(
        self, courier: Courier, store: S3Store, tmp_path: Path, size: int, fault: str
    ) -> None:
        content = os.urandom(size)
        (tmp_path / "source").write_bytes(content)
        digest = store.upload(tmp_path / "source", "a/b")
        courier.faults.append(Fault("GET", **{fault: 100_000}))
        told: list[tuple[int, int]] = []
        store.download("a/b", tmp_path / "target", sha256=digest, progress=lambda *what: told.append(what))
        assert (tmp_path / "target").read_bytes() == content
        assert told[-1] == (size, size)

    @pytest.mark.parametrize("size", [200_000, LARGE])
    def test_that_always_breaks_off_is_given_up(
        self, courier: Courier, store: S3Store, tmp_path: Path, size: int
    ) -> None:
        (tmp_path / "source").write_bytes(os.urandom(size))
        digest = store.upload(tmp_path / "source", "a/b")
        courier.faults.append(Fault("GET", times=999, cut_after=1000))
        with pytest.raises(StoreError, match="cut"):
            store.download("a/b", tmp_path / "target", sha256=digest)
        assert not (tmp_path / "target").exists()
        courier.faults.clear()
        store.download("a/b", tmp_path / "target", sha256=digest)
        assert sha256((tmp_path / "target").read_bytes()) == digest

    @pytest.mark.parametrize("size", [200_000, LARGE])
    def test_that_changes_bytes_is_found_out_and_forgotten(
        self, courier: Courier, store: S3Store, tmp_path: Path, size: int
    ) -> None:
        (tmp_path / "source").write_bytes(os.urandom(size))
        digest = store.upload(tmp_path / "source", "a/b")
        courier.faults.append(Fault("GET", times=9, flip=True))
        with pytest.raises(StoreError, match="sha256"):
            store.download("a/b", tmp_path / "target", sha256=digest)
        assert list(tmp_path.glob("target*")) == []
        courier.faults.clear()
        store.download("a/b", tmp_path / "target", sha256=digest)
        assert sha256((tmp_path / "target").read_bytes()) == digest


class TestThisMachine:
    def test_without_room_says_so_before_it_fetches(
        self, store: S3Store, courier: Courier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "source").write_bytes(os.urandom(LARGE))
        digest = store.upload(tmp_path / "source", "a/b")
        monkeypatch.setattr("ups.stores.s3_download.free_bytes", lambda path: 1000)
        with pytest.raises(StoreError, match="MB free") as refused:
            store.download("a/b", tmp_path / "target", sha256=digest)
        assert refused.value.exit_code == 6

    def test_whose_disk_fills_up_meanwhile_says_so_and_goes_on_later(
        self, store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "source").write_bytes(os.urandom(LARGE))
        digest = store.upload(tmp_path / "source", "a/b")

        def full(*_: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(part_file.os, "pwrite", full)
            with pytest.raises(StoreError, match="no space left"):
                store.download("a/b", tmp_path / "target", sha256=digest)
        assert not (tmp_path / "target").exists()
        store.download("a/b", tmp_path / "target", sha256=digest)
        assert sha256((tmp_path / "target").read_bytes()) == digest

    def test_whose_disk_takes_only_the_beginning_of_a_file_keeps_nothing_of_it(
        self, store: S3Store, tmp_path: Path
    ) -> None:
        (tmp_path / "source").write_bytes(os.urandom(20_000))
        digest = store.upload(tmp_path / "source", "a/b")
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, before[1]))
        try:
            with pytest.raises(StoreError, match="target"):
                store.download("a/b", tmp_path / "target", sha256=digest)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert list(tmp_path.glob("target*")) == []
        store.download("a/b", tmp_path / "target", sha256=digest)
        assert sha256((tmp_path / "target").read_bytes()) == digest

    @pytest.mark.parametrize("journal", [True, False])
    def test_has_nothing_left_of_an_earlier_object_that_was_larger(
        self, store: S3Store, tmp_path: Path, journal: bool
    ) -> None:
        content = os.urandom(20_000)
        store.write_bytes("a/b", content)
        target = tmp_path / "target"
        part_file.part_path(target).write_bytes(bytes(300_000))
        if journal:
            part_file.journal_path(target).write_text("0 300000\n")
        store.download("a/b", target, sha256=sha256(content))
        assert target.read_bytes() == content
        assert list(tmp_path.glob("target*")) == [target]

    def test_moves_no_faster_than_it_is_allowed(
        self,
        settings: BucketSettings,
        open_bucket: OpenStore,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        waited: list[float] = []
        monkeypatch.setattr("ups.stores.flow.time.sleep", waited.append)
        store = open_bucket(replace(settings, bytes_per_second=1000.0))
        files = [Upload(tmp_path / f"{index}", f"a/{index}") for index in range(3)]
        for file in files:
            file.source.write_bytes(bytes(1000))
        digests = store.upload_all(files)
        assert max(waited) == pytest.approx(2.0, abs=0.5)
        waited.clear()
        store.download_all(
            [
                Download(file.key, tmp_path / "to", digest)
                for file, digest in zip(files, digests, strict=True)
            ][:1]
        )
        assert sum(waited) > 0


KEYS = {"B2_KEY_ID": "004id", "B2_APP_KEY": "K004secret"}


class TestSettings:
    def test_are_those_of_backblaze(self) -> None:
        found = bucket_settings(
            "s3://data/a/b/", {**KEYS, "B2_S3_ENDPOINT": "s3.us-west-004.backblazeb2.com"}
        )
        assert (found.bucket, found.prefix, found.region) == ("data", "a/b/", "us-west-004")
        assert found.endpoint == "https://s3.us-west-004.backblazeb2.com"
        assert found.url == "s3://data/a/b"
        assert "secret" not in repr(found)

    def test_need_only_a_region(self) -> None:
        found = bucket_settings("s3://data", {**KEYS, "B2_S3_REGION": "eu-central-003"})
        assert found.endpoint == "https://s3.eu-central-003.backblazeb2.com"

    def test_may_be_those_of_the_aws_tools(self) -> None:
        names = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "eu-west-1"}
        assert bucket_settings("s3://data", names).endpoint == "https://s3.eu-west-1.amazonaws.com"

    @pytest.mark.parametrize(
        ("url", "variables", "hint"),
        [
            ("s3://data", {}, "B2_KEY_ID"),
            ("s3://data", {"B2_KEY_ID": "x", "B2_S3_REGION": "x"}, "B2_APP_KEY"),
            ("s3://data", KEYS, "B2_S3_ENDPOINT"),
            ("s3://data", {**KEYS, "B2_S3_ENDPOINT": "ftp://host"}, "B2_S3_ENDPOINT"),
            ("s3://data", {**KEYS, "B2_S3_REGION": "x", "UPS_BANDWIDTH": "fast"}, "12.5"),
            ("s3:", KEYS, "s3://bucket"),
            ("s3://a b/c", KEYS, "s3://bucket"),
            ("s3://data/../x", KEYS, "s3://bucket"),
        ],
    )
    def test_that_are_missing_or_wrong_are_asked_for(
        self, url: str, variables: dict[str, str], hint: str
    ) -> None:
        with pytest.raises(ConfigError) as refused:
            open_store(url, variables)
        assert hint in refused.value.hint
        assert "K004secret" not in f"{refused.value.message} {refused.value.hint}"
