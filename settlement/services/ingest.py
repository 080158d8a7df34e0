"""Files in: kept as they came, parsed, and their new lines added to their batches. Nothing is booked here."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import structlog
from django.db import connection, transaction
from django.db.models import Sum
from django.db.models.functions import Coalesce

from payments.services.chronicle import Chronicle
from routing.selectors import account_by_id
from settlement.events import batch_data
from settlement.formats.registry import parser_for
from settlement.models import SettlementBatch, SettlementFile, SettlementLine
from settlement.states import BatchState, BatchTrigger, next_batch_state
from settlement.types import DeclaredTotals, FileStatus, LineError, ParsedLine, UnreadableFile
from zentra.core.db import require_transaction
from zentra.core.errors import Conflict, Unprocessable
from zentra.core.jobs import enqueue_on_commit
from zentra.evidence.types import RequestContext
from zentra.tenancy.selectors import terms_of
from zentra.tenancy.types import Actor

log = structlog.get_logger(__name__)

MAX_FILE_BYTES: Final = 64 * 1024 * 1024
MAX_KEPT_ERRORS: Final = 1000

_STAGE = """
CREATE TEMPORARY TABLE settlement_stage (
    provider_batch_id text, row int, natural_key text, provider_line_id text, line_type text,
    provider_reference text, own_reference text, currency text, gross_minor bigint, fee_minor bigint,
    net_minor bigint, booked_on date, value_on date, extra jsonb
) ON COMMIT DROP
"""
_COPY = "COPY settlement_stage FROM STDIN"
_ADD_LINES = """
INSERT INTO settlement_settlementline
       (workspace_id, batch_id, file_id, row, natural_key, provider_line_id, line_type, provider_reference,
        own_reference, currency, gross_minor, fee_minor, net_minor, booked_on, value_on, extra)
SELECT %(workspace_id)s, b.id, %(file_id)s, s.row, s.natural_key, s.provider_line_id, s.line_type,
       s.provider_reference, s.own_reference, s.currency, s.gross_minor, s.fee_minor, s.net_minor, s.booked_on,
       s.value_on, s.extra
  FROM settlement_stage s
  JOIN settlement_settlementbatch b
    ON b.provider_account_id = %(provider_account_id)s AND b.provider_batch_id = s.provider_batch_id
   AND b.id = ANY(%(batch_ids)s)
 ORDER BY s.row
    ON CONFLICT (batch_id, natural_key) DO NOTHING
"""


class FileNameInvalid(Unprocessable):
    code = "settlement_file_name_invalid"
    summary = "The file needs a name of 1 to 200 printable characters."
    remedy = "Send the name under which the provider delivered the file."


class FileTooLarge(Unprocessable):
    code = "settlement_file_too_large"
    summary = "The file is larger than a settlement file may be."
    remedy = "Ask the provider for smaller files; the limit in bytes is in `details.limit_bytes`."


class FileOfAnotherAccount(Conflict):
    code = "settlement_file_of_another_account"
    summary = "The same file was imported for another provider account before."
    remedy = "Nothing was imported. A file belongs to one provider account; see `details.file_id`."


@dataclass(slots=True)
class _Reading:
    """What was read of a file so far; its lines are in the staging table."""

    lines: int = 0
    totals: dict[str, DeclaredTotals] = field(default_factory=dict)
    currencies: dict[str, str] = field(default_factory=dict)
    errors: list[LineError] = field(default_factory=list)
    error_count: int = 0
    seen: Counter[bytes] = field(default_factory=Counter)

    def refuse(self, error: LineError) -> None:
        self.error_count += 1
        if len(self.errors) < MAX_KEPT_ERRORS:
            self.errors.append(error)


@transaction.atomic(durable=True)
def ingest_file(
    *,
    workspace_id: UUID,
    provider_account_id: UUID,
    name: str,
    content: bytes,
    actor: Actor,
    context: RequestContext,
) -> SettlementFile:
    """Keep a provider's file, add its new lines to their batches, and hint a worker to reconcile them.

    The same bytes again answer with the first file (``replayed`` is True) and add nothing. A file that cannot be read
    is kept with status 'unreadable'; a row that cannot be used is a line error of the file.

    :raises NotFound: this workspace has no such provider account
    :raises FormatUnknown: no format is known for the account's provider
    :raises FileTooLarge: more than MAX_FILE_BYTES
    :raises FileNameInvalid: the name is empty, too long or not printable
    :raises FileOfAnotherAccount: the same bytes came for another provider account
    """
    _check(name, content)
    account = account_by_id(workspace_id, provider_account_id)
    parse = parser_for(account.provider)
    terms = terms_of(workspace_id)
    file = SettlementFile(
        workspace_id=workspace_id,
        provider_account_id=account.id,
        name=name,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        content=content,
        status=FileStatus.READ,
        received_at=terms.clock.now(),
        received_from=str(actor),
    )
    first = _first_of_its_kind(file)
    if first is not file:
        return first
    chronicle = Chronicle(terms=terms, actor=actor, context=context)
    reading = _Reading()
    _open_stage()
    try:
        _copy_lines(parse(content), reading)
    except UnreadableFile as error:
        file.status = FileStatus.UNREADABLE
        reading.refuse(LineError(1, str(error)))
    else:
        file.status = FileStatus.READ_WITH_ERRORS if reading.error_count else FileStatus.READ
    _add_to_batches(file, reading, chronicle)
    _close_stage()
    _store(file, reading, chronicle)
    return file


def _check(name: str, content: bytes) -> None:
    if not 1 <= len(name) <= 200 or not name.isprintable():
        raise FileNameInvalid(field="name")
    if len(content) > MAX_FILE_BYTES:
        raise FileTooLarge(details={"limit_bytes": MAX_FILE_BYTES})


def _first_of_its_kind(file: SettlementFile) -> SettlementFile:
    """Insert the file, or find the one with the same bytes. A concurrent import of them is waited for."""
    SettlementFile.objects.bulk_create([file], ignore_conflicts=True)
    stored = SettlementFile.objects.defer("content").get(workspace_id=file.workspace_id, sha256=file.sha256)
    if stored.id == file.id:
        return file
    if stored.provider_account_id != file.provider_account_id:
        raise FileOfAnotherAccount(details={"file_id": stored.public_id})
    stored.replayed = True
    return stored


def _open_stage() -> None:
    with connection.cursor() as cursor:
        cursor.execute(_STAGE)


def _close_stage() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE settlement_stage")


def _copy_lines(rows: Iterator[ParsedLine | DeclaredTotals | LineError], reading: _Reading) -> None:
    """Stream the lines into the staging table; totals and errors are kept in memory. :raises UnreadableFile:"""
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        for row in rows:
            if isinstance(row, LineError):
                reading.refuse(row)
                continue
            reading.currencies.setdefault(row.batch, row.currency)
            if isinstance(row, DeclaredTotals):
                reading.totals[row.batch] = row
                continue
            reading.lines += 1
            copy.write_row(_staged(row, reading.seen))


def _staged(line: ParsedLine, seen: Counter[bytes]) -> tuple[Any, ...]:
    """The columns of the staging table. The natural key is a hash of the content and its occurrence in this file."""
    content = "\x1f".join(
        (
            line.batch,
            line.line_id,
            line.line_type,
            line.provider_reference,
            line.own_reference,
            line.currency,
            str(line.gross_minor),
            str(line.fee_minor),
            line.booked_on.isoformat(),
            line.value_on.isoformat(),
        )
    )
    digest = hashlib.sha256(content.encode()).digest()[:16]
    seen[digest] += 1
    return (
        line.batch,
        line.row,
        f"{digest.hex()}.{seen[digest]}",
        line.line_id,
        line.line_type.value,
        line.provider_reference,
        line.own_reference,
        line.currency,
        line.gross_minor,
        line.fee_minor,
        line.net_minor,
        line.booked_on,
        line.value_on,
        json.dumps(dict(line.extra)),
    )


def _add_to_batches(file: SettlementFile, reading: _Reading, chronicle: Chronicle) -> None:
    batches, made = _lock_batches(file, reading, chronicle)
    with connection.cursor() as cursor:
        cursor.execute(
            _ADD_LINES,
            {
                "workspace_id": file.workspace_id,
                "file_id": file.id,
                "provider_account_id": file.provider_account_id,
                "batch_ids": [batch.id for batch in batches],
            },
        )
        file.new_line_count = max(cursor.rowcount, 0)
    for batch in batches:
        changed = _update_totals(batch, reading.totals.get(batch.provider_batch_id))
        if batch.id in made:
            chronicle.record("settlement_batch.received", batch.public_id, payment_id=None, after=batch.state)
            chronicle.announce("settlement.batch.received", "settlement_batch", batch.public_id, batch_data(batch))
        elif changed:
            before = batch.state
            batch.state = next_batch_state(BatchState(batch.state), BatchTrigger.LINES_ADDED)
            chronicle.record(
                "settlement_batch.lines_added",
                batch.public_id,
                payment_id=None,
                before=before,
                after=batch.state,
                data={"file": file.public_id},
            )
        batch.save()
        if changed:
            enqueue_on_commit(
                "settlement.reconcile_batch", workspace_id=str(batch.workspace_id), batch_id=str(batch.id)
            )


def _lock_batches(
    file: SettlementFile, reading: _Reading, chronicle: Chronicle
) -> tuple[list[SettlementBatch], set[UUID]]:
    """The file's batches under their row locks, in id order; the ids of those that are new.

    A batch in another currency than the one it has is left alone: its rows become errors of the file.
    """
    names = sorted(reading.currencies)
    rows = [
        SettlementBatch(
            workspace_id=file.workspace_id,
            provider_account_id=file.provider_account_id,
            file=file,
            provider_batch_id=name,
            currency=reading.currencies[name],
            received_at=chronicle.terms.clock.now(),
        )
        for name in names
    ]
    SettlementBatch.objects.bulk_create(rows, ignore_conflicts=True)
    found = SettlementBatch.objects.select_for_update().filter(
        provider_account_id=file.provider_account_id, provider_batch_id__in=names
    )
    batches = []
    for batch in found.order_by("id"):
        if batch.currency == reading.currencies[batch.provider_batch_id]:
            batches.append(batch)
        else:
            reading.refuse(LineError(0, f"batch {batch.provider_batch_id} is known in {batch.currency}"))
            file.status = FileStatus.READ_WITH_ERRORS
    return batches, {row.id for row in rows} & {batch.id for batch in batches}


def _update_totals(batch: SettlementBatch, declared: DeclaredTotals | None) -> bool:
    """Sum the lines anew, take over what the file declares; says whether anything is different now."""
    before = _totals(batch)
    sums = SettlementLine.objects.filter(batch=batch).aggregate(
        gross=Coalesce(Sum("gross_minor"), 0), fee=Coalesce(Sum("fee_minor"), 0), net=Coalesce(Sum("net_minor"), 0)
    )
    batch.line_count = SettlementLine.objects.filter(batch=batch).count()
    batch.gross_minor, batch.fee_minor, batch.net_minor = sums["gross"], sums["fee"], sums["net"]
    if declared is not None:
        batch.declared_count, batch.value_on = declared.line_count, declared.value_on
        batch.declared_gross_minor, batch.declared_fee_minor = declared.gross_minor, declared.fee_minor
        batch.declared_net_minor = declared.net_minor
    return _totals(batch) != before


def _totals(batch: SettlementBatch) -> tuple[int | None, ...]:
    return (
        batch.line_count,
        batch.net_minor,
        batch.declared_count,
        batch.declared_gross_minor,
        batch.declared_fee_minor,
        batch.declared_net_minor,
    )


def _store(file: SettlementFile, reading: _Reading, chronicle: Chronicle) -> None:
    require_transaction()
    file.line_count, file.error_count = reading.lines, reading.error_count
    file.errors = [{"row": error.row, "reason": error.reason} for error in reading.errors]
    file.save(update_fields=["status", "line_count", "new_line_count", "error_count", "errors"])
    chronicle.record(
        "settlement_file.received",
        file.public_id,
        payment_id=None,
        after=file.status,
        data={
            "sha256": file.sha256,
            "lines": file.line_count,
            "new_lines": file.new_line_count,
            "errors": file.error_count,
        },
    )
    chronicle.write()
    log.info(
        "settlement_file_ingested",
        file_id=file.public_id,
        lines=file.line_count,
        new_lines=file.new_line_count,
        errors=file.error_count,
    )
