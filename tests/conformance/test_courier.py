"""The courier against real receivers: whatever one of them does, the outbox says it and no task is concerned."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from standardwebhooks.webhooks import Webhook

from modelpress.domain.task import TaskStatus
from modelpress.domain.webhook import Delivery, DeliveryState
from modelpress.errors import StoreUnavailable
from modelpress.service.webhooks import Parcel, WebhookService
from modelpress.worker.courier import Courier
from modelpress.worker.post import Limits, NoAnswer, post, trusted
from tests.conformance.clock import SettableClock
from tests.conformance.house import House, make_house
from tests.conformance.scene import STATISTICS
from tests.receiver import Receiver, running_receiver

#: Short, for receivers that never answer; those that do have it in far less.
IMPATIENT = Limits(connect_seconds=0.3, total_seconds=0.3)
PATIENT = Limits(connect_seconds=60, total_seconds=60)


StartReceiver = Callable[..., Receiver]


@pytest.fixture
def receivers() -> Iterator[StartReceiver]:
    """Starts receivers."""
    with ExitStack() as running:
        yield lambda *arguments: running.enter_context(running_receiver(*arguments))


@pytest.fixture
def receiver(receivers: StartReceiver) -> Receiver:
    """A receiver."""
    return receivers()


@pytest.fixture
def raw() -> Iterator[Callable[[bytes], str]]:
    """Starts a server that says some bytes to one connection and then nothing more; its URL."""
    opened: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(said: bytes) -> str:
        listening = socket.create_server(("127.0.0.1", 0))
        opened.append(listening)

        def answer() -> None:
            connection, _ = listening.accept()
            opened.append(connection)
            connection.recv(65536)
            connection.sendall(said)
            if said.endswith(b"."):
                connection.close()

        threads.append(threading.Thread(target=answer))
        threads[-1].start()
        return f"http://127.0.0.1:{listening.getsockname()[1]}/"

    yield start
    for thread in threads:
        thread.join()
    for each in opened:
        each.close()


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    yield
    structlog.reset_defaults()


def _deliveries(house: House) -> list[Delivery]:
    return house.services.webhooks.deliveries("ours", limit=100)


def _latest(house: House) -> Delivery:
    return _deliveries(house)[0]


def _deliver(house: House, *, limits: Limits = PATIENT) -> Delivery:
    """Send what is due, once; the delivery afterwards."""
    parcel = house.services.webhooks.claim()
    assert parcel is not None
    Courier(house.services.webhooks, limits=limits).deliver(parcel)
    return next(delivery for delivery in _deliveries(house) if delivery.id == parcel.delivery.id)


# --- one try -------------------------------------------------------------------------------------------------


def test_a_receiver_gets_a_signed_post_that_others_libraries_verify(house: House, receiver: Receiver) -> None:
    secret = house.services.webhooks.set(account="ours", url=receiver.url)
    task = house.task()
    delivery = _deliver(house)
    assert (delivery.state, delivery.last_status) == (DeliveryState.DELIVERED, 200)
    (got,) = receiver.received
    assert (got.path, got.headers["content-type"]) == ("/hook?for=us", "application/json")
    assert got.headers["host"] == receiver.url.split("/")[2]
    assert got.headers["user-agent"].startswith("modelpress/")
    assert got.headers["webhook-id"] == delivery.id
    # The test's clock stands elsewhere: the library would find the time too old, and is asked for the signature alone.
    signed = Webhook(secret).sign(delivery.id, house.clock(), got.body.decode())
    assert got.headers["webhook-signature"] == signed
    assert got.headers["webhook-timestamp"] == str(int(house.clock().timestamp()))
    assert task.id in got.body.decode()


def test_a_failure_is_followed_by_the_same_bytes_under_the_same_id(house: House, receiver: Receiver) -> None:
    receiver.statuses = [500]
    house.services.webhooks.set(account="ours", url=receiver.url)
    house.task()
    delivery = _deliver(house)
    assert (delivery.state, delivery.last_status, delivery.tries) == (DeliveryState.WAITING, 500, 1)
    assert house.services.webhooks.claim() is None
    house.clock.advance(seconds=10)
    delivery = _deliver(house)
    assert (delivery.state, delivery.last_status, delivery.tries) == (DeliveryState.DELIVERED, 200, 2)
    first, second = receiver.received
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
    assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) == 10


def test_a_redirect_is_not_followed(house: House, receiver: Receiver) -> None:
    receiver.statuses = [302]
    house.services.webhooks.set(account="ours", url=receiver.url)
    house.task()
    delivery = _deliver(house)
    assert (delivery.state, delivery.last_status) == (DeliveryState.WAITING, 302)
    assert len(receiver.received) == 1


def test_a_receiver_that_never_answers_is_left_in_time(house: House, receiver: Receiver) -> None:
    receiver.may_answer.clear()
    house.services.webhooks.set(account="ours", url=receiver.url)
    house.task()
    delivery = _deliver(house, limits=IMPATIENT)
    assert (delivery.state, delivery.last_status) == (DeliveryState.WAITING, None)
    assert delivery.last_error == "no answer within 0.3 s"


def test_where_nobody_listens_the_connection_is_refused(house: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    house.services.webhooks.set(account="ours", url=f"http://127.0.0.1:{port}/")
    house.task()
    delivery = _deliver(house)
    assert delivery.state is DeliveryState.WAITING
    assert "refused" in (delivery.last_error or "")


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"no HTTP at all\r\n\r\n", "illegal status line"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n", "no answer within"),  # a head that never ends
        (b"HTTP/1.1 200.", "without sending"),  # hangs up
        (b"HTTP/1.1 200 OK\r\nx: \x1b[31m\x00\r\n\r\n", "illegal header"),
    ],
)
def test_an_answer_that_is_none_is_told_in_plain_text(raw: Callable[[bytes], str], said: bytes, error: str) -> None:
    with pytest.raises(NoAnswer, match=error) as caught:
        post(raw(said), headers={}, body=b"{}", limits=Limits(total_seconds=0.5))
    assert str(caught.value).isprintable()


def test_of_a_long_answer_the_head_is_enough(raw: Callable[[bytes], str]) -> None:
    url = raw(b"HTTP/1.1 202 Accepted\r\ncontent-length: 1000000000\r\n\r\nand so on")
    assert post(url, headers={}, body=b"{}", limits=PATIENT) == 202


@pytest.fixture
def tls(receivers: StartReceiver, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A receiver behind TLS, and the certificate it has, which no authority signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "receiver")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject_name=name, issuer_name=name, public_key=key.public_key(), serial_number=1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "receiver.pem"
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate.public_bytes(Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    behind = receivers(context)
    trusted.cache_clear()
    yield behind.url, path
    trusted.cache_clear()


def test_a_receiver_behind_tls_is_told_if_its_authority_is_known(
    tls: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, certificate = tls
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert post(url, headers={}, body=b"{}", limits=PATIENT) == 200


def test_a_receiver_whose_certificate_nobody_known_signed_is_told_nothing(
    tls: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with pytest.raises(NoAnswer, match="CERTIFICATE_VERIFY_FAILED"):
        post(tls[0], headers={}, body=b"{}", limits=PATIENT)


def test_https_never_falls_back_to_http(receiver: Receiver) -> None:
    with pytest.raises(NoAnswer, match="SSL"):
        post(receiver.url.replace("http://", "https://"), headers={}, body=b"{}", limits=PATIENT)
    assert receiver.received == []


# --- the whole courier ---------------------------------------------------------------------------------------


def test_a_running_courier_tells_of_a_tasks_whole_life(house: House, receiver: Receiver) -> None:
    house.services.webhooks.set(account="ours", url=receiver.url)
    house.task()
    house.services.work.publish(house.finished(), STATISTICS)
    arrived = threading.Barrier(2)
    answered = WebhookService.answered

    def meet(self: WebhookService, parcel: Parcel, status: int) -> bool:
        done = answered(self, parcel, status)
        if all(delivery.state is DeliveryState.DELIVERED for delivery in _deliveries(house)):
            arrived.wait(60)
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WebhookService, "answered", meet)
        with Courier(house.services.webhooks):
            arrived.wait(60)
    assert [delivery.task_status for delivery in _deliveries(house)] == ["succeeded", "running", "creating"]
    assert {delivery.id for delivery in _deliveries(house)} == {got.headers["webhook-id"] for got in receiver.received}


def test_a_receiver_that_hangs_holds_up_its_own_account_alone(
    house: House, receivers: StartReceiver, clock: SettableClock
) -> None:
    hanging, well = receivers(), receivers()
    hanging.may_answer.clear()
    other = make_house(house.services, house.settings, clock, account="theirs")
    house.services.webhooks.set(account="ours", url=hanging.url)
    house.services.webhooks.set(account="theirs", url=well.url)
    for _ in range(3):
        house.task()
    other.task()
    with Courier(house.services.webhooks, limits=PATIENT):
        assert well.came.wait(60)
        assert hanging.came.wait(60)
        assert len(hanging.received) == 1
        hanging.may_answer.set()
    assert house.status(house.task()) is TaskStatus.CREATING


def test_leaving_does_not_wait_for_a_receiver_that_hangs(
    house: House, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelpress.worker.courier._LEAVE_SECONDS", 0.0)
    receiver.may_answer.clear()
    house.services.webhooks.set(account="ours", url=receiver.url)
    house.task()
    with Courier(house.services.webhooks, limits=PATIENT):
        assert receiver.came.wait(60)
    # Left while it hangs: its lease ends, and another courier sends it again.
    assert _latest(house).state is DeliveryState.WAITING
    house.clock.advance(seconds=60)
    parcel = house.services.webhooks.claim()
    assert parcel is not None
    assert parcel.delivery.tries == 2
    receiver.may_answer.set()
    for thread in threading.enumerate():
        if thread.name.startswith("courier-"):
            thread.join()


def test_a_courier_outlives_a_database_that_fails_for_a_while(
    house: House, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelpress.worker.courier._LOOK_SECONDS", 0.01)
    failures = iter([StoreUnavailable("the database failed"), ZeroDivisionError("a bug")])
    claim = WebhookService.claim

    def fail_first(self: WebhookService, *, busy: list[str]) -> Parcel | None:
        for failure in failures:
            raise failure
        return claim(self, busy=busy)

    monkeypatch.setattr(WebhookService, "claim", fail_first)
    house.services.webhooks.set(account="ours", url=receiver.url)
    house.task()
    with Courier(house.services.webhooks):
        assert receiver.came.wait(60)


def test_an_outcome_that_cannot_be_written_is_no_end_of_the_courier(
    house: House, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter([StoreUnavailable("the database failed"), ZeroDivisionError("a bug")])
    answered = WebhookService.answered

    def fail_first(self: WebhookService, parcel: Parcel, status: int) -> bool:
        for failure in failures:
            raise failure
        return answered(self, parcel, status)

    monkeypatch.setattr(WebhookService, "answered", fail_first)
    house.services.webhooks.set(account="ours", url=receiver.url)
    for _ in range(3):
        house.task()
    with Courier(house.services.webhooks):
        while len(receiver.received) < 3:
            assert receiver.came.wait(60)
            receiver.came.clear()
    assert sorted(delivery.state for delivery in _deliveries(house)) == ["delivered", "waiting", "waiting"]
