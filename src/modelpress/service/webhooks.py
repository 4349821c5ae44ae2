"""Webhooks: the operator's commands on them, and what couriers do with deliveries."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta

from modelpress import __version__
from modelpress.domain.webhook import TRIES, Delivery, DeliveryState, Webhook, new_secret, pause_after, signed_headers
from modelpress.errors import NoSuchWebhook, SettingsError
from modelpress.service.clock import Clock
from modelpress.store.webhook_store import Claim, Outcome, WebhookStore

#: Six times what a try may take: only a courier that died lets it end.
LEASE = timedelta(seconds=60)
#: How long finished deliveries can be looked at and sent again.
KEPT = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """A delivery that is to be sent now: a POST of ``body``."""

    claim: Claim
    url: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def delivery(self) -> Delivery:
        """What is being sent."""
        return self.claim.delivery


class WebhookService:
    """Webhooks and their deliveries; ``jitter`` gives numbers from 0 to 1."""

    def __init__(self, webhooks: WebhookStore, *, clock: Clock, jitter: Callable[[], float] = random.random) -> None:
        self._webhooks = webhooks
        self._clock = clock
        self._jitter = jitter

    # --- operators -------------------------------------------------------------------------------------------

    def set(self, *, account: str, url: str, secret: str | None = None) -> str:
        """Tell this account's changes to ``url`` from now on; the signing secret, a new one unless it is given.

        Raises: NoSuchAccount.
        """
        chosen = secret or new_secret()
        self._webhooks.put(self._webhooks.account_id(account), url=url, secret=chosen, now=self._clock())
        return chosen

    def get(self, account: str) -> Webhook:
        """The account's webhook.

        Raises: NoSuchAccount, NoSuchWebhook.
        """
        webhook = self._webhooks.get(self._webhooks.account_id(account))
        if webhook is None:
            raise NoSuchWebhook(account)
        return webhook

    def remove(self, account: str) -> None:
        """Tell this account's changes to nobody; what waits to be sent is given up.

        Raises: NoSuchAccount, NoSuchWebhook.
        """
        if not self._webhooks.remove(self._webhooks.account_id(account)):
            raise NoSuchWebhook(account)

    def ping(self, account: str) -> Delivery:
        """Queue a delivery that tells of nothing.

        Raises: NoSuchAccount, NoSuchWebhook.
        """
        return self._webhooks.ping(self.get(account).account_id, now=self._clock())

    def deliveries(self, account: str, *, limit: int) -> list[Delivery]:
        """The account's latest deliveries, newest first, also those of a webhook it had before.

        Raises: NoSuchAccount.
        """
        return self._webhooks.deliveries(self._webhooks.account_id(account), limit=limit)

    def redeliver(self, delivery_id: str) -> Delivery:
        """Send a delivery again, to the webhook the account has now.

        Raises: NoSuchDelivery.
        """
        return self._webhooks.redeliver(delivery_id, now=self._clock())

    # --- couriers --------------------------------------------------------------------------------------------

    def claim(self, *, busy: Collection[str] = ()) -> Parcel | None:
        """What is to be sent next, of an account that is not ``busy``; what cannot be sent is noted as such here."""
        while claim := self._webhooks.claim(busy=busy, lease=LEASE, now=self._clock()):
            delivery = claim.delivery
            if claim.url is None:
                self._note(claim, state=DeliveryState.DEAD, error="the account has no webhook")
                continue
            try:
                secret = self._webhooks.secret(claim)
            except SettingsError as exc:
                self._try_later(claim, status=None, error=exc.message)
                continue
            body = delivery.body.encode()
            headers = {
                "content-type": "application/json",
                "user-agent": f"modelpress/{__version__}",
                **signed_headers(delivery.id, body=body, secret=secret, at=self._clock()),
            }
            return Parcel(claim=claim, url=claim.url, headers=headers, body=body)
        return None

    def answered(self, parcel: Parcel, status: int) -> bool:
        """The receiver answered with this HTTP status. True for 2xx: delivered; all else is tried again."""
        if 200 <= status < 300:
            self._note(parcel.claim, state=DeliveryState.DELIVERED, status=status)
            return True
        self._try_later(parcel.claim, status=status, error=None)
        return False

    def failed(self, parcel: Parcel, error: str) -> None:
        """There was no answer; it is tried again."""
        self._try_later(parcel.claim, status=None, error=error)

    def _try_later(self, claim: Claim, *, status: int | None, error: str | None) -> None:
        state = DeliveryState.DEAD if claim.delivery.tries >= TRIES else DeliveryState.WAITING
        self._note(claim, state=state, status=status, error=error)

    def _note(self, claim: Claim, *, state: DeliveryState, status: int | None = None, error: str | None = None) -> None:
        now = self._clock()
        again = now + pause_after(claim.delivery.tries, share=self._jitter())
        # Not this claim's any more: its lease ended, or an operator took it; then that claim's outcome counts.
        self._webhooks.note(claim, Outcome(state=state, next_at=again, status=status, error=error), now=now)

    def sweep(self) -> int:
        """Delete finished deliveries that are old enough; how many there were."""
        return self._webhooks.sweep(before=self._clock() - KEPT)
