"""hub.yaml and locations.yaml: read, checked, and refused with field, reason and example.

Secrets are written only as references, `env:NAME` or `file:/path`, and are resolved here, as late as the part starts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar, get_args, get_origin

import pydantic
import yaml
from pydantic import NonNegativeInt

from hub.errors import ConfigError
from hub.plugins import connectors
from hub.sdk import Bucket, Connector, Settings
from streams.item.state import fold, too_long
from streams.order.state import MAX_UNITS
from streams.places import ADJUSTMENT, HUB, Channel, Location, Observer, Places, Position, Velocity

M = TypeVar("M", bound=pydantic.BaseModel)
Latitude = Annotated[float, pydantic.Field(ge=-90, le=90)]
Longitude = Annotated[float, pydantic.Field(ge=-180, le=180)]
Measure = Literal["on_hand", "sellable", "available"]
EXAMPLE_KIT: Final = "kits: {STARTER-KIT: {BODY: 1, LENS: 2}}"


class Strict(pydantic.BaseModel):
    """A setting nobody knows is a typing error, not a wish."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class ObserverModel(Strict):
    """`settle_s`: how long it may take to know of what others did at the place. The measure alone will do."""

    measure: Measure
    settle_s: Annotated[float, pydantic.Field(ge=0, le=3 * 24 * 3600)] = Observer("").settle / 1000

    @pydantic.model_validator(mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        return {"measure": given} if isinstance(given, str) else given


class LocationModel(Strict):
    """`position` is [degrees north, degrees east]. `observers`: who says how much lies there and does not count it, and what its number means."""

    authority: str
    measure: Measure = "on_hand"
    safety_stock: int = pydantic.Field(default=0, ge=0)
    opening: str | None = None
    position: tuple[Latitude, Longitude] | None = None
    skew_s: Annotated[float, pydantic.Field(ge=0, le=3600)] = 0
    posting_s: Annotated[float, pydantic.Field(ge=0, le=24 * 3600)] = 0
    late: Literal["absorbed", "deducted"] = "absorbed"
    sales_via: Literal["orders", "stock"] | None = None
    tell: Literal["order", "adjustment", "nothing"] | None = None
    mode: Literal["book", "physical", "both"] | None = None
    max_age_s: Annotated[float, pydantic.Field(gt=0)] | None = None
    count_horizon_s: Annotated[float, pydantic.Field(ge=3600, le=30 * 24 * 3600)] | None = None
    observers: dict[str, ObserverModel] = {}


class VelocityModel(Strict):
    """A buffer that follows demand; all but `quantile` are units."""

    quantile: float = pydantic.Field(default=Velocity().quantile, ge=0.5, le=0.9999)
    at_least: NonNegativeInt = Velocity().at_least
    at_most: int = pydantic.Field(default=Velocity().at_most, ge=1, le=1000)


class ChannelPolicyModel(Strict):
    """`locations` names places or groups of them. `buffer` is a number of units, a part such as "10%", or follows demand: `velocity`, or its
    settings. The others are units."""

    locations: list[str]
    buffer: NonNegativeInt | Annotated[str, pydantic.StringConstraints(pattern=r"^([0-9]{1,2}%|velocity)$")] | VelocityModel = 0
    floor: NonNegativeInt = 0
    cap: NonNegativeInt | None = None
    preorder_cap: NonNegativeInt = 0
    backorder_cap: NonNegativeInt = 0


class LocationsModel(Strict):
    """locations.yaml. `groups` are names for several places, in order of preference; `kits` are SKUs sold as several others: component -> units."""

    locations: dict[str, LocationModel]
    groups: dict[str, list[str]] = {}
    channels: dict[str, ChannelPolicyModel]
    kits: dict[Any, Any] = {}


class Kafka(Strict):
    """Without a bootstrap the hub runs its own embedded broker."""

    bootstrap: str | None = None
    partitions: int | None = pydantic.Field(default=None, ge=1)


class Registry(Strict):
    """A Confluent-compatible registry; without a URL the embedded one."""

    url: str | None = None


class Sql(Strict):
    """Without a URL: SQLite in the data folder."""

    url: str | None = None


class Ingest(Strict):
    """The door and the polls. `poll_at_most_s` shortens the rounds of connectors that say more."""

    port: int = 18082
    public_url: str = "http://127.0.0.1:18082"
    max_body: int = pydantic.Field(default=2 * 1024 * 1024, ge=1024)
    poll_at_most_s: float | None = pydantic.Field(default=None, gt=0)


class Streams(Strict):
    """A partition stops, and waits for a person, before it writes more dead letters than these: so many in a row, or a greater part than
    this of its last 10,000 records. Who has looked, and wants the bad records out of the way, raises them for one start.
    The processors' state is in memory, with snapshots in `state_dir`, or in databases there."""

    dead_letters_in_a_row: int = pydantic.Field(default=1_000, ge=0)
    dead_letters_ratio: float = pydantic.Field(default=0.5, ge=0, le=1)
    state: Literal["memory", "disk"] = "memory"
    state_dir: Path | None = None


class Deliver(Strict):
    """Every `reconcile_s` all numbers are compared with the channel. `settle_s` is the longest a vendor may take to list what
    it has sold: a difference that is older, and that no listed order explains, is a finding and is put right."""

    reconcile_s: float = pydantic.Field(default=60.0, gt=0)
    settle_s: float = pydantic.Field(default=60.0, gt=0)


class Api(Strict):
    port: int = 18080


class LimitModel(Strict):
    """What this account may ask for: requests (or the vendor's points) per second, and at once."""

    rate: float = pydantic.Field(gt=0)
    burst: float = pydantic.Field(ge=1)


class ChannelModel(Strict):
    """One account of a connector. `locations` names the channel's own id of each of our places; without a `limit` the
    connector's default holds, which is that of the vendor's smallest plan."""

    connector: str
    settings: dict[str, Any] = {}
    locations: dict[str, str] = {}
    sink: bool = True
    limit: LimitModel | None = None


class HubModel(Strict):
    """hub.yaml."""

    name: str = "crossdock"
    data_dir: Path = Path(".crossdock")
    kafka: Kafka = Kafka()
    registry: Registry = Registry()
    sql: Sql = Sql()
    ingest: Ingest = Ingest()
    streams: Streams = Streams()
    deliver: Deliver = Deliver()
    api: Api = Api()
    metrics_port: int = 18090
    unknown_item_after_s: float = pydantic.Field(default=24 * 3600, gt=0, description="how long a record waits for its item before it is a dead letter")
    locations: Path | LocationsModel = Path("locations.yaml")
    channels: dict[str, ChannelModel]


class ChannelConfig:
    """A channel with its connector and its settings, parsed and with secrets resolved."""

    def __init__(self, name: str, model: ChannelModel, connector: type[Connector[Any]], parsed: Settings) -> None:
        self.name = name
        self.domain = connector.domain
        self.connector = connector
        self.parsed = parsed
        self.locations: Mapping[str, str] = model.locations
        self.sink = model.sink
        self.limit = Bucket(model.limit.rate, model.limit.burst) if model.limit else connector.limit


class HubConfig:
    """Everything a part needs to know, checked."""

    def __init__(self, path: Path, model: HubModel, places: Places, channels: Mapping[str, ChannelConfig]) -> None:
        self.path, self.model, self.places, self.channels = path, model, places, channels
        self.name = model.name
        self.kafka, self.registry, self.ingest, self.streams = model.kafka, model.registry, model.ingest, model.streams
        self.deliver, self.api = model.deliver, model.api
        self.data_dir = model.data_dir if model.data_dir.is_absolute() else path.parent / model.data_dir
        given = model.streams.state_dir
        self.state, self.state_dir = model.streams.state, self.data_dir / "state" if given is None else path.parent / given
        self.sql_url = model.sql.url or f"sqlite:///{self.data_dir / 'store.sqlite'}"
        self.metrics_port = model.metrics_port
        self.unknown_item_after_s = model.unknown_item_after_s

    @property
    def bootstrap(self) -> str:
        """Kafka's address; the embedded one is written into the running hub's own hub.yaml by `up`."""
        if self.model.kafka.bootstrap is None:
            raise ConfigError(f"{self.path}: kafka.bootstrap", "a part run alone needs the broker's address", "kafka: {bootstrap: 'broker-1:9092'}")
        return self.model.kafka.bootstrap

    @property
    def registry_url(self) -> str:
        """The registry's address, likewise."""
        if self.model.registry.url is None:
            raise ConfigError(f"{self.path}: registry.url", "a part run alone needs the registry's address", "registry: {url: 'http://registry:8081'}")
        return self.model.registry.url

    @property
    def domains(self) -> tuple[str, ...]:
        """Connector domains in use, sorted."""
        return tuple(sorted({channel.domain for channel in self.channels.values()}))

    @property
    def told(self) -> tuple[str, ...]:
        """Channels that count places and are told of others' facts there, sorted."""
        return tuple(sorted({place.authority for place in self.places.locations.values() if place.tell == ADJUSTMENT}))

    @property
    def sinks(self) -> tuple[str, ...]:
        """Channels that are told their stock."""
        return tuple(name for name, channel in self.channels.items() if channel.sink and channel.connector.sink is not None)


def load(path: Path, *, secrets: bool = True) -> HubConfig:
    """hub.yaml with its locations.yaml. Raises ConfigError.

    Without `secrets` the channels' own settings are neither resolved nor checked: for commands that talk to no channel.
    """
    model = _model(HubModel, _yaml(path), str(path), "channels: {shopify: {connector: shopify, settings: {...}}}")
    located = model.locations
    if isinstance(located, Path):
        located = _locations(located if located.is_absolute() else path.parent / located)
    places = _places(located, str(path))
    channels = {name: _channel(path, name, channel, places, secrets) for name, channel in model.channels.items()}
    for name in places.channels:
        if name not in channels:
            raise ConfigError(
                f"{path}: channels", f"locations.yaml gives stock to channel {name!r}, which is not configured", f"channels: {{{name}: {{connector: ...}}}}"
            )
    _feeds(path, model, places, channels)
    return HubConfig(path, model, places, channels)


def _feeds(path: Path, model: HubModel, places: Places, channels: Mapping[str, ChannelConfig]) -> None:
    """That every place's authority can be read as often, and told, as locations.yaml wants. ConfigError."""
    for place, rules in places.locations.items():
        where, channel = f"{path}: locations.{place}", channels.get(rules.opening or rules.authority)
        if rules.tell == ADJUSTMENT and channel is None:
            raise ConfigError(f"{where}.tell", f"{rules.authority!r} is no channel of this hub, so nobody can tell it", "{authority: square, tell: adjustment}")
        if rules.tell == ADJUSTMENT and channel is not None:
            if channel.connector.adjusts is None:
                able = ", ".join(sorted(name for name, known in connectors().items() if known.adjusts is not None))
                raise ConfigError(f"{where}.tell", f"connector {channel.domain} takes no adjustments; those that do: {able}", "tell: nothing, mode: both")
            if place not in channel.locations:
                raise ConfigError(f"{where}.tell", f"channel {channel.name} does not say how it calls {place}", f"locations: {{{place}: L8GBBQKX9NBEA}}")
            if channel.sink and channel.connector.sink is not None:
                raise ConfigError(f"{where}.tell", f"{channel.name} would be told every fact twice, as an adjustment and in its number", "sink: false")
        if rules.max_age is not None and channel is not None:
            rounds = [min(poll.every, model.ingest.poll_at_most_s or poll.every) for poll in channel.connector.polls if poll.stream == "count"]
            if not rounds or rules.max_age <= min(rounds) * 1000:
                why = f"its counts are read every {min(rounds):g} s" if rounds else f"connector {channel.domain} does not read counts"
                raise ConfigError(f"{where}.max_age_s", f"{why}, so the place would be too old between two reads", "max_age_s: 1800")
        for name in rules.observers:
            if (observer := channels.get(name)) is not None:
                _observer(f"{where}.observers.{name}", place, observer, told=name in places.channels)


def _observer(where: str, place: str, channel: ChannelConfig, *, told: bool) -> None:
    """That a channel's count of the place comes in, and is its own. ConfigError."""
    if told and channel.sink and channel.connector.sink is not None:
        raise ConfigError(where, "it is told its number by the hub, and what it shows is compared with that already", "sink: false, or leave it out here")
    if place not in channel.locations:
        raise ConfigError(where, f"channel {channel.name} does not say how it calls {place}", f"locations: {{{place}: L8GBBQKX9NBEA}}")
    if "count" not in channel.connector.streams:
        raise ConfigError(where, f"connector {channel.domain} does not read counts", "leave it out here")


def load_places(path: Path) -> Places:
    """locations.yaml alone (`crossdock try`). Raises ConfigError."""
    return _places(_locations(path), str(path))


def _locations(path: Path) -> LocationsModel:
    return _model(LocationsModel, _yaml(path), str(path), "locations: {lyon: {authority: square, measure: on_hand}}")


def _yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(str(path), "there is no such file", "crossdock up -c hub.yaml") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), f"not YAML ({type(error).__name__})", "channels:\n  shopify: {connector: shopify}") from None


def _model(kind: type[M], data: Any, where: str, example: str) -> M:
    try:
        return kind.model_validate(data)
    except pydantic.ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"] if str(part).isidentifier() and not str(part)[0].isupper())
        raise ConfigError(f"{where}: {field or 'the file'}", first["msg"], example) from None


def _places(model: LocationsModel, where: str) -> Places:
    for name, location in model.locations.items():
        about_others = [field for field in ("posting_s", "sales_via", "tell", "max_age_s") if getattr(location, field)]
        if location.authority == HUB and about_others:
            field = about_others[0]
            raise ConfigError(f"{where}: locations.{name}.{field}", "it is about another system's book; here the hub counts", "{authority: square}")
        if location.tell == "nothing" and location.mode not in ("physical", "both"):
            raise ConfigError(
                f"{where}: locations.{name}.tell",
                f"nobody tells {location.authority} what others take from {name}, and without people's counts its number is never right again",
                "{tell: nothing, mode: both}, or {tell: adjustment}",
            )
        for observer in location.observers:
            if observer in (HUB, location.authority, location.opening):
                why = "is told its number since it has opened the place" if observer == location.opening else "counts there itself"
                raise ConfigError(f"{where}: locations.{name}.observers.{observer}", f"{observer} {why}", "{authority: square, observers: {erp: on_hand}}")
        if location.opening is not None and location.authority != HUB:
            raise ConfigError(
                f"{where}: locations.{name}.opening", "only a place that the hub counts can be opened by a channel", "{authority: hub, opening: square}"
            )
    for name, members in model.groups.items():
        if name in model.locations:
            raise ConfigError(f"{where}: groups.{name}", "a place has this name already", f"groups: {{all-{name}: [{name}]}}")
        _known(members, model, f"{where}: groups.{name}")
    return Places(
        {n: _location(x) for n, x in model.locations.items()},
        {n: _policy(x, model, f"{where}: channels.{n}") for n, x in model.channels.items()},
        _kits(model.kits, f"{where}: kits"),
    )


def _kits(kits: Mapping[Any, Any], where: str) -> Mapping[str, Mapping[str, int]]:
    """Every SKU has one spelling, and what is in a kit is no kit."""
    spelled: dict[str, str] = {}
    for kit, components in kits.items():
        if not isinstance(components, dict) or not components:
            raise ConfigError(f"{where}.{kit}", "a kit is a list of what is in it, with the units of each", EXAMPLE_KIT)
        for sku in (kit, *components):
            if not isinstance(sku, str) or not fold(sku) or too_long(sku):
                raise ConfigError(f"{where}.{kit}", f"{sku!r} is no SKU; digits must be quoted", EXAMPLE_KIT)
            if (other := spelled.setdefault(fold(sku), sku)) != sku:
                raise ConfigError(f"{where}.{kit}", f"{sku!r} and {other!r} are one SKU spelled in two ways", EXAMPLE_KIT)
        for sku, units in components.items():
            if type(units) is not int or not 1 <= units <= MAX_UNITS:
                raise ConfigError(f"{where}.{kit}.{sku}", f"units in one kit are a whole number from 1 to {MAX_UNITS:,}", EXAMPLE_KIT)
            if sku in kits:
                what = "the kit is in itself" if sku == kit else "it is a kit, and kits of kits are not supported: name what is in it"
                raise ConfigError(f"{where}.{kit}.{sku}", what, EXAMPLE_KIT)
    return kits


def _location(x: LocationModel) -> Location:
    where = Position(*x.position) if x.position else None
    skew, posting = (round(seconds * 1000) for seconds in (x.skew_s, x.posting_s))
    oldest, horizon = (None if seconds is None else round(seconds * 1000) for seconds in (x.max_age_s, x.count_horizon_s))
    observers = {name: Observer(one.measure, round(one.settle_s * 1000)) for name, one in x.observers.items()}
    told = (x.tell, x.mode, oldest, horizon, observers)
    return Location(x.authority, x.measure, x.safety_stock, x.opening, where, skew, posting, x.late == "absorbed", x.sales_via, *told)


def _policy(channel: ChannelPolicyModel, model: LocationsModel, where: str) -> Channel:
    places = [place for name in channel.locations for place in model.groups.get(name, (name,))]
    _known(places, model, f"{where}.locations")
    if channel.cap is not None and channel.cap < channel.floor:
        raise ConfigError(f"{where}.cap", f"it is below the floor of {channel.floor}, so nothing would ever be sold", "{floor: 2, cap: 50}")
    velocity, units, percent = None, 0, 0
    match channel.buffer:
        case "velocity":
            velocity = Velocity()
        case VelocityModel(quantile=quantile, at_least=least, at_most=most):
            if least > most:
                raise ConfigError(f"{where}.buffer", f"at_least is above at_most of {most}", "{quantile: 0.99, at_least: 1, at_most: 20}")
            velocity = Velocity(quantile, least, most)
        case str(part):
            percent = int(part.removesuffix("%"))
        case int(units):
            pass
    return Channel(tuple(places), units, percent, channel.floor, channel.cap, channel.preorder_cap, channel.backorder_cap, velocity)


def _known(places: Sequence[str], model: LocationsModel, where: str) -> None:
    for place in places:
        if place not in model.locations:
            raise ConfigError(where, f"there is no place {place!r}", f"locations: {{{place}: {{authority: hub}}}}")
    if len(set(places)) != len(places):
        raise ConfigError(where, "a place stands twice", "[lyon, dc]")


def _channel(path: Path, name: str, model: ChannelModel, places: Places, secrets: bool) -> ChannelConfig:
    where = f"{path}: channels.{name}"
    if not name or not all(c.isascii() and (c.islower() or c.isdigit() or c == "-") for c in name):
        raise ConfigError(where, "a channel's name has lower-case letters, digits and hyphens", "vendure-paris")
    known = connectors()
    if model.connector not in known:
        raise ConfigError(
            f"{where}.connector", f"there is no connector {model.connector!r}; installed: {', '.join(sorted(known))}", f"connector: {sorted(known)[0]}"
        )
    connector = known[model.connector]
    for place in model.locations:
        if place not in places.locations:
            raise ConfigError(f"{where}.locations", f"there is no place {place!r} in locations.yaml", "locations: {lyon: L88917KVHZ4}")
    for place, location in places.locations.items():
        if location.authority == name and model.sink and connector.sink is not None and location.measure != "available" and place in model.locations:
            raise ConfigError(
                f"{where}.sink",
                f"this channel owns the count of {place!r} and would be written to at the same time, so its count would be our own number",
                f"sink: false, or locations.yaml: {place}: {{authority: hub, opening: {name}}}",
            )
    natives: dict[str, str] = {}
    for place, native in model.locations.items():
        if natives.setdefault(native, place) != place:
            raise ConfigError(
                f"{where}.locations",
                f"{natives[native]} and {place} are one place to it ({native}), so its count would be of both",
                "locations: {lyon: L88917KVHZ4}",
            )
    if not secrets:
        return ChannelConfig(name, model, connector, connector.settings.model_construct())
    parsed = _model(connector.settings, _resolve(connector.settings, model.settings, f"{where}.settings"), f"{where}.settings", "see the connector's README")
    return ChannelConfig(name, model, connector, parsed)


def _resolve(kind: type[Settings], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Secret fields must be references; they are replaced by what they refer to."""
    out = dict(given)
    for field, info in kind.model_fields.items():
        if field in out and _secret(info.annotation):
            out[field] = _reference(out[field], f"{where}.{field}")
    return out


def _secret(annotation: Any) -> bool:
    return annotation is pydantic.SecretStr or any(_secret(part) for part in get_args(annotation) if get_origin(annotation) is not Literal)


def _reference(value: Any, where: str) -> str:
    if isinstance(value, str) and value.startswith("env:"):
        found = os.environ.get(value[4:])
        if not found:
            raise ConfigError(where, f"the environment variable {value[4:]} is not set", "env:SHOPIFY_SECRET")
        return found
    if isinstance(value, str) and value.startswith("file:"):
        try:
            return Path(value[5:]).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigError(where, f"the secret's file cannot be read ({type(error).__name__})", "file:/run/secrets/shopify") from None
    raise ConfigError(where, "a secret is written as a reference, never in the file itself", "env:SHOPIFY_SECRET or file:/run/secrets/shopify")
