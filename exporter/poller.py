"""The only writer: looks, reads, advances the state, saves it, and only then shows it.

What it publishes is immutable and swapped by one assignment; everything else only reads that. A bug in here raises,
and ends the process: old numbers must not be served as new.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from exporter import logs
from exporter.advance import Engine
from exporter.births import Births
from exporter.checkpoint import Checkpoint, CheckpointError, StateDirectory
from exporter.clocks import Suspension
from exporter.config import Settings, SourceSettings
from exporter.exposition import Publication
from exporter.gauges import Health
from exporter.labels import pools_of_only
from exporter.layout import Layout
from exporter.publisher import Publisher, be_born, forget_removed
from exporter.reader import Look, Reader, Suspicion
from exporter.rules import check_zone, fingerprint, rules_of, schema_of
from exporter.source import Look as Token
from exporter.source import Source, SourceDiscarded, SourceError
from exporter.spec import Metric, Schema
from exporter.state import State, StateError
from exporter.telemetry import Telemetry
from exporter.view import SourceStatus

log = logs.get(__name__)

CONNECT_EVERY_S = 60.0
CONFIRM_AFTER_S = 5.0
RETRY_STATE_S = 2.0
STALE_S = 15.0
PROGRESS_EVERY_S = 5.0
_INLINE_ROWS = 200


class Poller:
    """Polls one source, which ``of`` describes, for as long as ``run`` runs; ``directory`` is shared by all."""

    def __init__(
        self,
        *,
        settings: Settings,
        of: SourceSettings,
        schema: Schema,
        source: Source,
        directory: StateDirectory,
        telemetry: Telemetry,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.of = of
        self.schema = schema_of(settings, schema, of.name)
        self.rules = rules_of(settings, of)
        self.source = source
        self.telemetry = telemetry
        self.wall = wall
        self.monotonic = monotonic
        self.fingerprints = {
            metric.name: fingerprint(metric, self.rules, self.schema) for metric in self.schema.counted
        }
        self.births = Births(settings.new_series_hold)
        self.publisher = Publisher(self.schema, self.rules, source.name, of.labels)
        self.publication: Publication | None = None
        self.ready = False
        self.directory = directory
        self.checkpoint: Checkpoint | None = None
        self._error = self._progress = ""
        self._checkpoint_error: CheckpointError | None = None
        self._last_error: tuple[float, str] | None = None
        self._up = False
        self._last_success: float | None = None
        self._lag: int | None = None
        self._layout: Layout | None = None
        self._spill = directory.spill()
        self.state = self._empty()
        self.engine: Engine
        self.reader: Reader
        self._token: Token | None = None
        self._connected_at = float("-inf")
        self._current_at = monotonic()
        self._told_at = float("-inf")
        self._suspicion: Suspicion | None = None
        self._suspected_at = float("-inf")
        self._suspension = Suspension(wall, monotonic)
        self._needs_snapshot = True
        self._warned_of_hold = self._rebuilt = False

    def _empty(self) -> State:
        """A state of nothing; what of it need not be in memory is put beside the checkpoint."""
        return State(self.schema.tables, put_aside=self._spill.put)

    def _take(self, state: State) -> None:
        """Go on with this state; the first time once what was saved is loaded."""
        self.state = state
        self.engine = Engine(state, self.schema, self.rules)
        self.reader = Reader(
            self.source, self.engine, self.schema, self.rules, self.wall, self.monotonic, progress=self._note_progress
        )

    @property
    def _log(self) -> structlog.stdlib.BoundLogger:
        """The log of this source. Not kept: the configuration of logs may change."""
        return log.bind(source=self.source.name)

    def _note_progress(self, line: str) -> None:
        self._progress = line
        if self.monotonic() - self._told_at >= PROGRESS_EVERY_S:
            self._told_at = self.monotonic()
            self._log.info("scanning", progress=line)

    # ── what others see ──────────────────────────────────────────────────────────────────────────────────────

    def note_served(self, publication: Publication) -> None:
        """A scrape got that publication, whole."""
        self.births.served(publication.number, self.monotonic())
        if self.births.too_short() and not self._warned_of_hold:
            self._warned_of_hold = True
            self._log.warning(
                "new_series_hold is shorter than three scrape intervals",
                hold_s=self.births.hold_s,
                scrape_gap_s=self.births.gap_s,
            )

    @property
    def is_current(self) -> bool:
        """Whether what it published is what the source holds."""
        return self._up

    @property
    def has_told(self) -> bool:
        """Whether it knows how the source is: a poll has ended, or its state cannot be had."""
        return self._up or bool(self._error or self._checkpoint_error)

    @property
    def is_complete(self) -> bool:
        """Whether its publication has all metrics: none is still to be made from the rows."""
        return self.ready and not self._unscanned()

    def outlive(self) -> None:
        """It is cancelled, and what it published is shown still: say that this is not current."""
        if self._up:
            self._up = False
            self._publish()

    def status(self) -> SourceStatus:
        """How the source is doing now."""
        return SourceStatus(
            name=self.source.name,
            location=str(self.of.database),
            up=self._up,
            error=self._error,
            progress=self._progress,
            last_success=self._last_success,
            counting_since=self.state.counting_since,
            lag_rows=self._lag or 0,
            rows_read=self.publisher.rows_read(),
            last_event=self.publisher.last_event(),
            notes=self._layout.notes() if self._layout else (),
            checkpoint_error=str(self._checkpoint_error or ""),
            headlines=self.publisher.headlines(),
            active_sessions=self.publisher.active_sessions(),
            in_flight=self.publisher.handoffs_in_flight(),
            last_error=self._last_error,
            spending=self.publisher.spending,
            budgets=self.publisher.budgets,
        )

    # ── the loop ─────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Poll until cancelled. Every poll is saved when it is done; one that is cut short is read again.

        Raises:
            Exception: a bug; the process should end.
        """
        self._publish()
        try:
            await self._start()
            while True:
                await self._poll_timed()
                await asyncio.sleep(self.settings.poll_interval)
        finally:
            if self.checkpoint is not None:
                self.checkpoint.close()

    async def _start(self) -> None:
        """Take the state directory and load what was saved; waits, unready, while another process has it."""
        while self.checkpoint is None:
            try:
                self.directory.acquire()
                checkpoint = self.directory.checkpoint(self.source.name)
                self._load(checkpoint)
                self.checkpoint = checkpoint
                self._checkpoint_error = None
            except CheckpointError as exc:
                self._checkpoint_failed(exc)
                self._publish()
                await asyncio.sleep(RETRY_STATE_S)
        if self.state.fingerprints:
            self._show_loaded()

    def _show_loaded(self) -> None:
        """What was saved may be seen at once, with up 0 until the first poll; not what is to be scanned anew."""
        self.publisher.note(self.state)
        for metric in self._unscanned():
            self.publisher.drop(metric.name)
        self.publisher.show(self.state, self.wall())
        self.ready = True
        self._publish()

    def _load(self, checkpoint: Checkpoint) -> None:
        loaded = checkpoint.load()
        for path in loaded.set_aside:
            self._log.error("checkpoint file is damaged and was set aside", file=str(path))
        state = self._empty()
        if loaded.records:
            try:
                state.load(loaded.records, {metric.name: metric for metric in self.schema.metrics})
            except StateError as exc:
                self._log.error("checkpoint cannot be used; counting anew from the tables", error=str(exc))
                state = self._empty()
            else:
                forget_removed(state, self.schema, self.fingerprints)
                rebuild, self._rebuilt = not self._rebuilt and self.settings.storage.rebuild_ledger, True
                check_zone(state, self.schema, self.rules, rebuild=rebuild)
                self._needs_snapshot = False
                self._suspension.begin()
        if loaded.fell_back or loaded.lost:
            self._log.warning("checkpoint fell back" if loaded.fell_back else "checkpoint is lost; counting anew")
            state.counting_since = None
        self._take(state)

    async def _poll_timed(self) -> None:
        began = self.monotonic()
        connected = self._connected_at
        outcome = await self._poll()
        for table, duration_s, failed in self.reader.timings:
            self.telemetry.queried(self.source.name, table, duration_s=duration_s, failed=failed)
        self.reader.timings.clear()
        did_connect = self._connected_at != connected
        self.telemetry.polled(self.source.name, outcome, duration_s=self.monotonic() - began if did_connect else None)

    async def _poll(self) -> str:
        self._suspension.watch()
        try:
            token = self.source.look()
            if self._must_connect(token):
                self._connected_at = self.monotonic()
                await self._read()
                self._token = token
        except SourceDiscarded as exc:
            return self._discarded(str(exc))
        except SourceError as exc:
            return self._failed(str(exc))
        self._last_success, self._current_at = self.wall(), self.monotonic()
        if self._error:
            self._log.info("source can be read again")
        self._error = self._progress = ""
        self._suspension.watch()
        self.engine.end(self.wall(), suspended_from=self._suspension.since)
        self._release()
        self._save()
        self._publish()
        return "success"

    def _must_connect(self, token: Token) -> bool:
        """When something moved, is due without having been read since, or a minute has passed."""
        if token != self._token or self._unscanned() or self.monotonic() - self._connected_at >= CONNECT_EVERY_S:
            return True
        return not self.reader.asked_all and self.engine.is_due(self.wall(), suspended_from=self._suspension.since)

    def _discarded(self, reason: str) -> str:
        if self.monotonic() - self._current_at > STALE_S:
            return self._failed(reason)
        self._publish()
        return "discarded"

    def _failed(self, reason: str) -> str:
        if reason != self._error:
            self._log.error("source cannot be read", error=reason)
        self._error = reason
        self._last_error = (self.wall(), reason)
        self._up = False
        self._publish()
        return "failure"

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _read(self) -> None:
        """Everything that is new; what was never scanned first.

        Raises:
            SourceError: the source cannot be read now. What was applied before that is whole and stays.
        """
        await self._scan()
        again = True
        while True:
            look = await self.reader.look(again=again)
            for table, reason in look.layout.newly_left_out(self._layout):
                self._log.error("own table is left out", table=table, error=reason)
            self._layout = look.layout
            if look.suspicion is not None:
                self._suspect(look.suspicion)
                again = True
                continue
            self._suspicion = None
            if look.batch is not None:
                await self._apply(look)
            self._lag = look.lag
            if not look.more:
                return
            again = False

    async def _apply(self, look: Look) -> None:
        assert look.batch is not None  # noqa: S101 - the caller's condition
        if sum(len(read.rows) for read in look.batch.reads) > _INLINE_ROWS:
            await asyncio.to_thread(self.engine.advance, look.batch)
        else:
            self.engine.advance(look.batch)

    def _suspect(self, suspicion: Suspicion) -> None:
        """Act on a past that looks changed when a second reading, five seconds later, says the same.

        Raises:
            SourceDiscarded: this was the first reading, or they differ.
        """
        now = self.monotonic()
        if self._suspicion is None or not self._suspicion.agrees(suspicion):
            self._suspicion, self._suspected_at = suspicion, now
            self._log.warning("source's past looks changed; reading again", tables=sorted(suspicion.verdicts))
        if now - self._suspected_at < CONFIRM_AFTER_S:
            self._token = None
            raise SourceDiscarded(f"{self.source.name}: the past looks changed; to be confirmed")
        for table, verdict in suspicion.verdicts.items():
            self._log.warning("source's past has changed", table=table, kind=verdict.kind, known_to=verdict.known)
        self.reader.revise(suspicion)
        self._suspicion = None

    def _unscanned(self) -> list[Metric]:
        """The metrics made from rows that are not, or not in this form, in the state."""
        made = self.state.fingerprints
        return [metric for metric in self.schema.counted if made.get(metric.name) != self.fingerprints[metric.name]]

    async def _scan(self) -> None:
        unscanned = self._unscanned()
        if not unscanned:
            return
        first = not self.state.fingerprints
        if not first:
            for pool in pools_of_only(unscanned, self.schema):
                self.state.admitted.pop(pool, None)  # its labels are made anew: admit as a first scan does
            self._forget(unscanned)
        try:
            await self.reader.scan(unscanned, first=first)
        except SourceError:
            if first:
                fresh = self._empty()
                fresh.counting_since = None
                self._take(fresh)
            else:
                self._forget(unscanned)
            raise
        be_born(self.state, self.schema, self.reader.engine)
        self.state.fingerprints.update({metric.name: self.fingerprints[metric.name] for metric in unscanned})
        self._needs_snapshot = True
        self._log.info("scanned", metrics=len(unscanned), first=first)

    def _forget(self, metrics: list[Metric]) -> None:
        """Drop series that are to be made anew; where their meaning changed, counting begins anew."""
        for metric in metrics:
            if not metric.feeds:
                continue
            if metric.name in self.state.fingerprints and metric is not self.schema.ledger:
                self.state.counting_since = None
            self.state.drop(metric.name)
            self.publisher.drop(metric.name)
        self._take(self.state)

    # ── saving and showing ───────────────────────────────────────────────────────────────────────────────────

    def _release(self) -> None:
        due = self.births.due(self.monotonic()) if self.births.hold_s else set(self.state.held)
        self.state.release(due)

    def _save(self) -> None:
        """Save what changed, then let it be shown. What cannot be saved is not shown."""
        now = self.wall()
        self.state.publish(now)
        self.publisher.note(self.state)
        try:
            self._write()
        except CheckpointError as exc:
            self._needs_snapshot = True
            self._checkpoint_failed(exc)
            return
        if self._checkpoint_error:
            self._log.info("state can be saved again")
        self._checkpoint_error = None
        self._up = self.ready = True
        self.publisher.show(self.state, now)

    def _write(self) -> None:
        assert self.checkpoint is not None  # noqa: S101 - made before the first poll
        began = self.monotonic()
        self.directory.acquire()
        if self._needs_snapshot or self.state.whole:
            self.checkpoint.save_snapshot(self.state.snapshot())
            self._needs_snapshot = False
        elif (record := self.state.delta()) is not None:
            self.checkpoint.save_delta(record)
            self._compact(self.checkpoint)
        else:
            return
        self.telemetry.saved(
            self.source.name, duration_s=self.monotonic() - began, size_bytes=self.checkpoint.size_bytes
        )

    def _compact(self, checkpoint: Checkpoint) -> None:
        """Begin a new generation when it is time; all is saved without it, so it may fail."""
        if checkpoint.wants_snapshot:
            try:
                checkpoint.save_snapshot(self.state.snapshot())
            except CheckpointError as exc:
                self._log.warning("checkpoint cannot be compacted", error=str(exc))

    def _checkpoint_failed(self, exc: CheckpointError) -> None:
        if self._checkpoint_error is None or exc.reason != self._checkpoint_error.reason:
            self._log.error("state cannot be saved", error=str(exc))
        self._checkpoint_error = exc
        self.telemetry.save_failed()
        self._up = False

    def _publish(self) -> None:
        began = self.monotonic()
        health = Health(self._up, self._last_success, self._lag)
        publication = self.publisher.publish(health)
        self.births.shown(self.publisher.held(), publication.number)
        self.publication = publication
        self.telemetry.published(self.source.name, publication.samples, duration_s=self.monotonic() - began)
