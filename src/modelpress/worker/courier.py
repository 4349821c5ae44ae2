"""The courier: sends what waits in the outbox, in threads beside the supervisor, and never touches a task.

A delivery is claimed under a lease, sent, and its outcome noted under the same claim. A courier that dies in between
leaves a lease that ends, and the delivery is sent again: at least once, under one ``webhook-id``. Each account has at
most one delivery on its way from one courier, so a receiver that hangs holds up its own account alone.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

import structlog

from modelpress.errors import StoreUnavailable
from modelpress.service.webhooks import Parcel, WebhookService
from modelpress.worker.post import Limits, NoAnswer, post

_log = structlog.get_logger("modelpress.courier")

#: Accounts that are served at the same time. Threads that wait for a receiver, made when needed: they cost next to
#: nothing, and with fewer that many receivers that hang at once would hold up those that do not.
SENDERS = 16
_LOOK_SECONDS = 1.0
_SWEEP_SECONDS = 600.0
#: What is still being sent after this is sent again by whoever comes next.
_LEAVE_SECONDS = 2.0


class Courier:
    """A context: it sends while it is open."""

    def __init__(self, webhooks: WebhookService, *, limits: Limits | None = None) -> None:
        self._webhooks = webhooks
        self._limits = limits or Limits()
        self._lock = threading.Lock()
        self._senders: dict[str, threading.Thread] = {}
        # Set when there may be something to do: a sender is done, or it is time to leave.
        self._wake = threading.Event()
        self._leaving = False
        self._swept_at = float("-inf")
        # Daemons, all of them: a receiver that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving = True
        self._wake.set()
        self._thread.join()
        ends_at = time.monotonic() + _LEAVE_SECONDS
        with self._lock:
            senders = list(self._senders.values())
        for sender in senders:
            sender.join(max(ends_at - time.monotonic(), 0))

    def _run(self) -> None:
        while not self._leaving:
            self._wake.clear()
            try:
                self._turn()
            except StoreUnavailable as exc:
                _log.warning("database unavailable", error=exc.message)
            except Exception:  # the courier's outermost loop: one odd delivery must not end the others
                _log.exception("a turn of the courier failed")
            self._wake.wait(_LOOK_SECONDS)

    def _turn(self) -> None:
        while not self._leaving:
            with self._lock:
                busy = list(self._senders)
            parcel = self._webhooks.claim(busy=busy) if len(busy) < SENDERS else None
            if parcel is None:
                break
            account_id = parcel.delivery.account_id
            sender = threading.Thread(target=self._serve, args=(parcel,), name=f"courier-{account_id}", daemon=True)
            with self._lock:
                self._senders[account_id] = sender
            sender.start()
        now = time.monotonic()
        if now - self._swept_at >= _SWEEP_SECONDS:
            self._swept_at = now
            self._webhooks.sweep()

    def _serve(self, parcel: Parcel) -> None:
        try:
            self.deliver(parcel)
        except StoreUnavailable as exc:
            _log.warning("the outcome of a delivery could not be noted", error=exc.message, delivery=parcel.delivery.id)
        except Exception:  # the thread's outermost frame: the lease ends, and it is tried again
            _log.exception("a delivery failed", delivery=parcel.delivery.id)
        finally:
            with self._lock:
                del self._senders[parcel.delivery.account_id]
            self._wake.set()

    def deliver(self, parcel: Parcel) -> None:
        """Send ``parcel`` once and note what came of it."""
        delivery = parcel.delivery
        log = _log.bind(delivery=delivery.id, account=delivery.account_id, tries=delivery.tries)
        try:
            status = post(parcel.url, headers=parcel.headers, body=parcel.body, limits=self._limits)
        except NoAnswer as exc:
            self._webhooks.failed(parcel, str(exc))
            log.warning("webhook not delivered", error=str(exc))
            return
        if self._webhooks.answered(parcel, status):
            log.info("webhook delivered", status=status)
        else:
            log.warning("webhook not delivered", status=status)
