"""A PACS, by DICOMweb (PS3.18): queried by QIDO-RS, its instances fetched by WADO-RS one at a time when they are read.

Nothing is sent but the query and requests for what it found. Names in tables are keyed hashes of the UIDs (`keyed_hash`). Who
may read comes from the environment: AUTOANNOTATE_DICOMWEB_TOKEN (a bearer token), AUTOANNOTATE_DICOMWEB_USER (name:password),
AUTOANNOTATE_DICOMWEB_CA (certificates to trust), AUTOANNOTATE_DICOMWEB_CERT (the client's own certificate and key).
"""

from __future__ import annotations

import io
import ipaddress
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

from autoannotate._internal.wording import counted
from autoannotate.errors import InputError, UnreadableImageError
from autoannotate.images.content import FETCHED_AT_ONCE, Content
from autoannotate.images.dicom_objects import passed_over
from autoannotate.images.keyed_hash import keyed_hash
from autoannotate.images.ref import PassedOver, PassOver
from autoannotate.images.sources.source import Entry, Source

SCHEMES = {"dicomweb": "http", "dicomwebs": "https"}
EXTRA = "A PACS is read with the extra: pip install 'autoannotate[pacs]'."
STUDIES_A_PAGE = 100
OF_STUDIES = ("StudyDate", "StudyTime", "StudyDescription", "ModalitiesInStudy", "PatientSex", "InstitutionName")
IDENTIFIERS = ("PatientName", "PatientID", "PatientBirthDate", "AccessionNumber", "StudyID", "OtherPatientIDs",
               "ReferringPhysicianName", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")  # fmt: skip
_OF_ITEMS = ("00080008", "00080060", "00100020", "0020000D", "0020000E", "00200013", "00200032", "00200037")
_NO_PIXELS = PassedOver("DICOM objects without pixels", "they are reports, plans or notes, no pictures", 1)
_NOT_TOLD = PassedOver(
    "series of a PACS", "it did not say which images are in them: see its log; the same command asks again", 1
)

T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """A DICOMweb service, and what is asked of it.

    Attributes
    ----------
    url : str
        Its root, as in `https://pacs.example/dicom-web`.
    filters : mapping
        Attributes of studies and series by keyword, as QIDO-RS matches them.
    limit : int or None
        How many studies at most.
    """

    url: str
    filters: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None

    @classmethod
    def of(cls, text: str) -> Place:
        """The place that a URL names, as in `dicomweb://host:8042/dicom-web?Modality=CR`.

        Raises
        ------
        InputError
            With what is wrong, and the way out.
        """
        from pydicom.datadict import tag_for_keyword

        parts = urlsplit(text)
        if not parts.hostname:
            raise InputError(
                f"{text} names no server: write dicomweb://HOST[:PORT]/PATH, as in dicomweb://pacs:8042/dicom-web."
            )
        if "@" in parts.netloc:
            raise InputError(
                "The address holds a name or password, which would be kept with the run: give them as name:password in the "
                "environment variable AUTOANNOTATE_DICOMWEB_USER."
            )
        filters = dict(parse_qsl(parts.query, keep_blank_values=True))
        limit = filters.pop("limit", None)
        if limit is not None and not limit.isdecimal():
            raise InputError(f"limit={limit} is no number of studies: write as in ?Modality=CR&limit=100.")
        for name in filters:
            if name in IDENTIFIERS:
                raise InputError(
                    f"{name} in the query would be kept with the run, and it identifies people: choose by Modality, "
                    "StudyDate=20200101-20201231, StudyDescription or BodyPartExamined."
                )
            if tag_for_keyword(name) is None:
                raise InputError(
                    f"{name} is no attribute of DICOM: write keywords, as in ?Modality=CR&StudyDate=20200101-."
                )
        return cls(
            f"{SCHEMES[parts.scheme]}://{parts.netloc}{parts.path.rstrip('/')}",
            filters,
            None if limit is None else int(limit),
        )

    @property
    def of_studies(self) -> dict[str, str]:
        """The filters of a search for studies."""
        filters = {name: value for name, value in self.filters.items() if name in OF_STUDIES}
        return filters | ({"ModalitiesInStudy": self.filters["Modality"]} if "Modality" in self.filters else {})

    @property
    def of_series(self) -> dict[str, str]:
        """The filters of a search for series."""
        return {name: value for name, value in self.filters.items() if name not in OF_STUDIES}


class _RefusedError(InputError):
    """The server answered, but with an error or with less than it should."""


class Server:
    """A DICOMweb service, at most `FETCHED_AT_ONCE` requests at a time, and a count of what was asked of it."""

    def __init__(self, url: str) -> None:
        self.url, self.asked = url, Counter[str]()
        self._client, self._free = _client(url), threading.BoundedSemaphore(FETCHED_AT_ONCE)

    def ask(self, what: str, call: Callable[[Any], T]) -> T:
        """What a call of the client answers.

        Raises
        ------
        InputError
            Where the server does not.
        """
        with self._free:
            self.asked[what] += 1
            try:
                return call(self._client)
            except Exception as error:
                kind = InputError if _is_unreachable(error) else _RefusedError
                raise kind(_in_words(self.url, error)) from None

    def studies(self, place: Place) -> Iterator[str]:
        """The UIDs of the studies that match, in the order of the server."""
        seen: set[str] = set()
        for page in count():
            found = self.ask(
                "searches",
                partial(_call, "search_for_studies", search_filters=place.of_studies, limit=STUDIES_A_PAGE,
                        offset=page * STUDIES_A_PAGE),
            )  # fmt: skip
            new = [uid for uid in (_value(study, "0020000D") for study in found) if uid and uid not in seen]
            for uid in new:
                if place.limit is not None and len(seen) >= place.limit:
                    return
                seen.add(uid)
                yield uid
            if len(found) < STUDIES_A_PAGE or not new:  # some servers know no offset
                return

    def instances(self, place: Place, study: str) -> list[dict[str, Any] | PassedOver]:
        """The metadata (PS3.18 F, DICOM JSON) of each instance of the series of a study that match.

        A series that the server does not tell of is counted as passed over: others are no worse for it.
        """
        series = self.ask(
            "searches",
            partial(_call, "search_for_series", study_instance_uid=study, search_filters=place.of_series),
        )
        uids = sorted(uid for uid in (_value(one, "0020000E") for one in series) if uid)
        found: list[dict[str, Any] | PassedOver] = []
        for uid in uids:
            call = partial(_call, "retrieve_series_metadata", study_instance_uid=study, series_instance_uid=uid)
            try:
                found += self.ask("searches", call)
            except _RefusedError:
                found.append(_NOT_TOLD)
        return found

    def open(self, study: str, series: str, instance: str) -> BinaryIO:
        """An instance, as a DICOM file, compressed as the server has it.

        Raises
        ------
        UnreadableImageError
            Where it cannot be read.
        """
        from pydicom import dcmwrite

        call = partial(
            _call, "retrieve_instance", study_instance_uid=study, series_instance_uid=series,
            sop_instance_uid=instance, media_types=(("application/dicom", "*"),),
        )  # fmt: skip
        try:
            dataset = self.ask("instances", call)
        except InputError as error:
            raise UnreadableImageError(str(error)) from None
        out = io.BytesIO()
        dcmwrite(out, dataset)
        out.seek(0)
        return out

    def store(self, datasets: list[Any]) -> None:
        """Store instances by STOW-RS.

        Raises
        ------
        InputError
            Where the server does not take them all.
        """
        answer = self.ask("instances stored", partial(_call, "store_instances", datasets=datasets))
        if failed := len(answer.get("FailedSOPSequence") or []):
            raise InputError(f"{self.url} did not take {counted(failed, 'document')} of {len(datasets)}: see its log.")


def entries(text: str) -> Iterator[Entry | PassedOver]:
    """The instances of a PACS that match the query of a URL, those of several studies asked for at a time."""
    place = Place.of(text)
    server = server_at(place.url)
    with ThreadPoolExecutor(FETCHED_AT_ONCE) as pool:
        for found in pool.map(partial(server.instances, place), list(server.studies(place))):
            for instance in found:
                yield instance if isinstance(instance, PassedOver) else _entry(server, instance)


def _entry(server: Server, instance: dict[str, Any]) -> Entry | PassedOver:
    from pydicom import Dataset

    uids = tuple(str(_value(instance, tag)) for tag in ("0020000D", "0020000E", "00080018"))
    header = Dataset.from_json({tag: instance[tag] for tag in ("00080016", "00080060") if tag in instance})
    try:
        passed_over(header, None)
    except PassOver as over:
        return PassedOver(over.kind, over.reason, 1)
    if _value(instance, "00280010") is None:
        return _NO_PIXELS
    frames = int(_value(instance, "00280008") or 1)
    study, series, name = map(keyed_hash, uids)
    known = {tag: instance[tag] for tag in _OF_ITEMS if tag in instance}
    content = Content(f"dicomweb\0{name}", partial(server.open, *uids), ".dcm", partial(Dataset.from_json, known))
    return Entry(f"{study}/{series}/{name}.dcm", content, frames if frames > 1 else None)


@lru_cache(maxsize=8)
def server_at(url: str) -> Server:
    """The service at a URL, one of each in a process."""
    return Server(url)


def account(text: str) -> str:
    """What a run asked of the PACS, in a sentence."""
    place = Place.of(text)
    asked = server_at(place.url).asked
    terms = f" for {urlencode(place.filters)}" if place.filters else ""
    return (
        f"{place.url} was sent {counted(asked['searches'], 'request')}{terms} and asked for "
        f"{counted(asked['instances'], 'instance')}; nothing else left this machine, and nothing was stored there."
    )


def _client(url: str) -> Any:
    try:
        from dicomweb_client.api import DICOMwebClient
        from requests import Session
        from requests.adapters import HTTPAdapter
    except ImportError:
        raise InputError(EXTRA) from None
    session = Session()
    session.mount(url, HTTPAdapter(pool_maxsize=FETCHED_AT_ONCE, max_retries=2))
    token, user, authority, certificate = (
        os.environ.get(f"AUTOANNOTATE_DICOMWEB_{name}") for name in ("TOKEN", "USER", "CA", "CERT")
    )
    if (token or user) and url.startswith("http://") and not _is_loopback(urlsplit(url).hostname or ""):
        raise InputError(f"{url} is not encrypted, so anyone on the way could read the token: use dicomwebs://.")
    if token:
        session.headers["Authorization"] = f"Bearer {token}"
    elif user:
        name, _, password = user.partition(":")
        session.auth = (name, password)
    for file in filter(None, (authority, certificate)):
        if not Path(file).is_file():
            raise InputError(f"There is no file {file}: AUTOANNOTATE_DICOMWEB_CA and _CERT name files of certificates.")
    session.trust_env = False  # no proxy, no netrc: only the server that was named
    session.verify = authority or True
    session.cert = certificate
    client = DICOMwebClient(url, session=session)
    client.set_http_retry_params(retry=True, max_attempts=3, wait_exponential_multiplier=500)
    return client


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _in_words(url: str, error: Exception) -> str:
    from requests import exceptions

    if isinstance(error, exceptions.SSLError):
        return f"The certificate of {url} is not trusted: name the file of its authority in AUTOANNOTATE_DICOMWEB_CA."
    status = _status(error)
    if status in (401, 403):
        return (
            f"{url} does not let you in ({status}): give a token in AUTOANNOTATE_DICOMWEB_TOKEN, or name:password in "
            "AUTOANNOTATE_DICOMWEB_USER."
        )
    if status in (429, 503):
        return (
            f"{url} is too busy ({status}), and was after three tries: give the same command later, which then goes on."
        )
    if status is not None:
        return f"{url} answered with status {status}: check the address (it ends in /dicom-web at many) and the server's log."
    if not _is_unreachable(error):
        return f"{url} sent less than a whole answer: see its log; the same command then goes on."
    return f"{url} cannot be reached: check the address and that the server runs; the same command then goes on."


def _status(error: Exception) -> int | None:
    """The status of the last answer, where there was one."""
    from retrying import RetryError

    last = error.last_attempt.value if isinstance(error, RetryError) else error
    if isinstance(last, tuple):  # an exception as sys.exc_info gives it
        last = last[1]
    answer = getattr(last, "response", None)
    return getattr(last if answer is None else answer, "status_code", None)


def _is_unreachable(error: Exception) -> bool:
    """Whether nothing came from the server at all."""
    from requests import exceptions

    cut = (exceptions.ChunkedEncodingError, exceptions.ContentDecodingError, exceptions.JSONDecodeError)
    return _status(error) is None and isinstance(error, exceptions.RequestException) and not isinstance(error, cut)


def _call(name: str, client: Any, **arguments: Any) -> Any:
    return getattr(client, name)(**arguments)


def _value(instance: Mapping[str, Any], tag: str) -> Any:
    values = (instance.get(tag) or {}).get("Value") or [None]
    return values[0]


SOURCE = Source(
    "pacs",
    "a PACS (dicomweb://HOST/PATH?Modality=CR, or dicomwebs:// for https)",
    recognises=lambda text: text.partition("://")[0] in SCHEMES and "://" in text,
    entries=entries,
    location=lambda text: text,
    account=account,
)
