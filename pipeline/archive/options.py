"""Options of coding, declared once: names, types, defaults and what people read about them.

Everything else follows from the fields of ``EncodeOptions``: the options of the commands and their
help, the arguments of ``compress`` and ``plan``, the JSON of requests and reports, the digest of a
line that tunes. To add an option, write a field and its line in ``CodingOptions``, and use it.

The declaration lies below the workflows, because the plan of an image makes its codec of these
options in every worker; ``workflows/cli/options.py`` turns it into what the parser of the command
line wants.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated, Any, TypedDict, get_args, get_origin, get_type_hints

from tilepress.codecs.loss import Loss, bounded, lossy
from tilepress.codecs.registry import DEFAULT_CODEC, LOSSY_CODEC
from tilepress.errors import UsageError
from tilepress.pipeline.image.made_levels import AUTO, parse_asked
from tilepress.pipeline.privacy.profile import Profile

if TYPE_CHECKING:
    from tilepress.codecs.tile import TileCodec

__all__ = [
    "CODING_OPTIONS",
    "LOSSES",
    "PURPOSES",
    "TIER_TILES",
    "CodingOption",
    "CodingOptions",
    "Description",
    "EncodeOptions",
    "TuneOptions",
    "suggested",
]


LOSSES = ("max_error", "quality", "psnr", "bits_per_sample", "bpp")
"""Options that say how much may be lost; they exclude each other."""


_SEARCHED = ("psnr", "bits_per_sample", "bpp")
"""Targets whose level is looked for, which all of an image has in common unless a user says."""

PURPOSES: Mapping[str, Mapping[str, Any]] = {"training": {"tile": 256, "tier": "fast"}}
"""What is coded otherwise for a purpose, unless that is given."""

TIER_TILES: Mapping[str, int] = {"max": 1024}
"""Tiles of the tiers that have others, unless given: what a record says of its planes beside their
samples (weights, trees) is said once for four times as many of these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What people read about an option."""

    help: str
    metavar: str | None = None
    """What stands for its value in the help; None where the choices do."""
    choices: tuple[str, ...] = ()
    """The values that it takes; empty where they are more than a few words."""
    since_later: bool = False
    """Whether it came after plans were written: its default is left out of JSON, as it was then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneOptions:
    """That weights were tuned for this run, and where they are."""

    seconds: float
    """How long the user lets them be tuned."""
    weights: tuple[str, ...] = ()
    """Paths of the tuned weights, the lightest first; none where nothing teaches anything."""
    force: bool = False
    """Whether stores that are sealed will be written again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeOptions:
    """What the user chose about coding; the same for every image of a run."""

    codec: Annotated[
        str,
        Description(
            metavar="NAME[:…]",
            help="Codec of the tiles: wave, the learned one; ntc, the learned one that always "
            "loses, which --quality, --psnr, --bits-per-sample and --bpp mean unless another is "
            "named; mlp, blocks through hidden units, for comparison; "
            "compressai:ARCH, a checkpoint of CompressAI (--model FILE); or jpegxl, jpeg2000, "
            "htj2k, jpegls, lerc, zstd, and of 8 bits webp and avif, lossless unless a loss is "
            "asked for.",
        ),
    ] = DEFAULT_CODEC
    max_error: Annotated[
        float,
        Description(
            metavar="K",
            help="No sample changes by more than K, in stored units (physical ones for floats); "
            "0 is lossless. With codec ntc also beside --psnr, --quality or --bits-per-sample.",
        ),
    ] = 0.0
    quality: Annotated[
        float,
        Description(
            metavar="Q",
            help="Lossy: as good as the codec makes it at 1 to 100, of its own scale where it has "
            "one, else about 20 + Q/2 dB. Absent samples, masks, flags and classes stay exact.",
            since_later=True,
        ),
    ] = 0.0
    psnr: Annotated[
        float,
        Description(
            metavar="DB",
            help="Lossy: no image has a lower PSNR. Its peak is 255 for 8 bits, else the range of "
            "the image's values.",
            since_later=True,
        ),
    ] = 0.0
    bits_per_sample: Annotated[
        float,
        Description(
            metavar="R",
            help="Lossy: no image takes more bits a sample, absent ones counted; levels, exact "
            "bands, masks and headers come on top.",
            since_later=True,
        ),
    ] = 0.0
    bpp: Annotated[
        float,
        Description(
            metavar="R",
            help="Lossy: the same as bits a pixel, all its bands together.",
            since_later=True,
        ),
    ] = 0.0
    per_tile: Annotated[
        bool,
        Description(
            help="With --psnr, --bits-per-sample or --bpp: every tile holds it by itself, rather "
            "than all of an image together; takes more bytes.",
            since_later=True,
        ),
    ] = False
    tier: Annotated[
        str,
        Description(
            choices=("fast", "standard", "max"),
            help="How much work goes into a tile. fast: the fitted linear path alone; standard; "
            "max: a larger network, everything tried, tiles of 1024; slower. Of ntc: established "
            "codecs are not tried, where they may win, or on every tile.",
        ),
    ] = "standard"
    model: Annotated[
        str, Description(metavar="NAME|FILE", help="The model; auto: that of the tier.")
    ] = "auto"
    tile: Annotated[
        int,
        Description(
            metavar="PIXELS",
            help="Rows and columns of one record, 16 to 2048; with --tier max 1024 unless given.",
        ),
    ] = 512

    planes_per_chunk: Annotated[
        int,
        Description(
            metavar="N",
            help="Bands, slices or times of one record at most, 1 to 64; 0: up to 16. 1 suits who "
            "reads single planes, and takes more bytes, for no plane is predicted from another.",
            since_later=True,
        ),
    ] = 0

    for_: Annotated[
        str,
        Description(
            metavar="PURPOSE",
            help="training: tiles of 256 and the tier fast, from which random patches are read "
            "several times as fast; --tile and --tier win over it.",
            since_later=True,
        ),
    ] = ""

    lossless_for: Annotated[
        str,
        Description(
            metavar="PATTERNS",
            help="With a loss, files and bands that stay lossless, by name, e.g. "
            "`'*SCL*,*QA*'`. Alpha, masks, flags and classes do so anyway.",
            since_later=True,
        ),
    ] = ""

    max_expansion: Annotated[
        float,
        Description(
            metavar="RATIO",
            help="Refuse images that claim to hold over RATIO bytes of samples for each byte of "
            "their files, and over 1 GiB; 0 refuses none.",
            since_later=True,
        ),
    ] = 1000.0

    levels: Annotated[
        str,
        Description(
            metavar="auto|N|none",
            help="Levels of lower resolution: auto: from a quarter of the rows and columns on, of "
            "images above 4096 × 4096; N, each half of the one before; none. Images that have "
            "levels keep theirs, and with auto sealed stores, too.",
            since_later=True,
        ),
    ] = AUTO

    deidentify: Annotated[
        str,
        Description(
            metavar="PROFILE",
            help="Remove what identifies a patient, by the basic profile of DICOM PS3.15 and its "
            "options: clean-descriptors, and what comes after retain-: uids, "
            "patient-characteristics, device-identity, institution-identity or "
            "longitudinal-modified-dates (as in basic,retain-uids). Pixels stay as they are.",
            since_later=True,
        ),
    ] = ""

    tune: TuneOptions | None = None
    """What a run that tunes found for itself; no option that anybody gives."""

    @classmethod
    def of(cls, given: CodingOptions) -> EncodeOptions:
        """Return the options that a caller gave; None stands for a default.

        Raises TypeError for a name that is no option, as a call with explicit arguments would,
        UsageError for a purpose or a profile of de-identification that there is not, and for a
        target of 0.
        """
        types = {option.name: option.type for option in CODING_OPTIONS}
        values: dict[str, Any] = {}
        for name, value in given.items():
            if name not in types:
                raise TypeError(f"got an unexpected keyword argument {name!r}")
            if value is not None:
                values[name] = float(value) if types[name] is float else value  # type: ignore[arg-type]
        for name in LOSSES[1:]:  # 0 stands for "not given" in fields, and nobody may say it
            if not values.get(name, 1.0) > 0:
                told = f"{name.replace('_', '-')} {values[name]:g}"
                raise UsageError(f"compressing: got {told}, want above 0, or no such option")
        values |= suggested(values)
        if values.get("per_tile") and not any(values.get(name) for name in _SEARCHED):
            raise UsageError(
                "compressing: --per-tile needs --psnr, --bits-per-sample or --bpp; what --quality "
                "and --max-error say holds of every tile"
            )
        if "levels" in values:
            values["levels"] = str(parse_asked(str(values["levels"])))
        if values.get("deidentify"):
            values["deidentify"] = str(Profile.parse(values["deidentify"]))
        return cls(**values)

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> EncodeOptions:
        """Return the options that ``to_json`` told; one that was not known then has its default."""
        return cls(**{o.name: told[o.name] for o in CODING_OPTIONS if o.name in told})

    def to_json(self) -> dict[str, Any]:
        """Return the options that were given, or their defaults, by name."""
        values = {option.name: getattr(self, option.name) for option in CODING_OPTIONS}
        for option in CODING_OPTIONS:
            if option.description.since_later and values[option.name] == option.default:
                del values[option.name]
        return values

    @property
    def profile(self) -> Profile | None:
        """How images are to be de-identified; None: they are not."""
        return Profile.parse(self.deidentify) if self.deidentify else None

    @property
    def asked_levels(self) -> str | int:
        """Which levels are to be made: "auto", "none" or how many."""
        return parse_asked(self.levels)

    @property
    def loss(self) -> Loss:
        """What coding may change; of bits a pixel as if there were one band."""
        for name, value in self._targets(1).items():
            if value and (found := lossy(name, value)) is not None:
                return replace(found, within=self.max_error or None, per_tile=self.per_tile)
        return bounded(self.max_error)

    @property
    def losses(self) -> tuple[str, ...]:
        """Names of all options that were given which say how much may be lost."""
        return tuple(name for name in LOSSES if getattr(self, name))

    def _targets(self, bands: int) -> dict[str, float | None]:
        """Return the targets of lossy coding by name, for an image of so many bands."""
        rate = self.bits_per_sample or (self.bpp / bands)
        found = {"quality": self.quality, "psnr": self.psnr, "bits_per_sample": rate}
        return {name: value or None for name, value in found.items()}

    @property
    def lossless_patterns(self) -> tuple[str, ...]:
        """Patterns of names of what is lossless whatever the bound."""
        return tuple(one for text in self.lossless_for.split(",") if (one := text.strip()))

    def tile_codec(
        self,
        nodata: float | int | None = None,
        *,
        lossless: bool = False,
        bands: int = 1,
        peak: float | None = None,
        visible: bool = False,
    ) -> TileCodec:
        """Return the codec of the tiles of an image; raises CodecError where there is none.

        visible : whether some samples are hidden, which a target then leaves out.
        """
        from tilepress.codecs.config import lossless_codec, scoped  # here: they load the compiler
        from tilepress.codecs.tile import TileCodec

        targets = {} if lossless else self._targets(bands)
        if lossless and lossless_codec(self.codec) != self.codec:
            return TileCodec(nodata=nodata)  # the other options are of a codec that always loses
        codec = TileCodec(
            codec=self.codec,
            # what was given for no error is told as it was given: it enters the digests of plans
            max_error=0.0 if lossless and self.max_error else self.max_error,
            nodata=nodata,
            tier=self.tier,
            model=self.model,
            peak=peak,
            quality=targets.get("quality"),
            psnr=targets.get("psnr"),
            bits_per_sample=targets.get("bits_per_sample"),
        )
        if not any(targets.values()) or not (self.per_tile or visible):
            return codec
        return TileCodec.from_config(
            scoped(codec.to_config(), per_tile=self.per_tile, visible=visible)
        )


class CodingOptions(TypedDict, total=False):
    """The same options as keyword arguments, so that type checkers know ``**coding``."""

    codec: str | None
    max_error: float
    quality: float
    psnr: float
    bits_per_sample: float
    bpp: float
    per_tile: bool
    tier: str
    model: str
    tile: int
    planes_per_chunk: int
    for_: str
    lossless_for: str
    max_expansion: float
    levels: str | int
    deidentify: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CodingOption:
    """One option as it is declared."""

    name: str
    type: type
    default: Any
    description: Description

    @property
    def flag(self) -> str:
        """How the command line calls it; an underscore at the end keeps Python from reading it."""
        return "--" + self.name.rstrip("_").replace("_", "-")


def suggested(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what options that are given mean for others that are not; raises UsageError.

    A purpose suggests some, and a target names the codec.
    """
    purpose = given.get("for_", "")
    if purpose not in ("", *PURPOSES):
        raise UsageError(f"compressing: got --for {purpose!r}, want {' or '.join(PURPOSES)}")
    found = {k: v for k, v in PURPOSES.get(purpose, {}).items() if k not in given}
    if "codec" not in given and any(given.get(name) for name in LOSSES[1:]):
        found["codec"] = LOSSY_CODEC
    codec = {**found, **given}.get("codec", DEFAULT_CODEC)
    if codec != DEFAULT_CODEC or given.get("model", "auto") != "auto":
        found.pop("tier", None)  # a tier is one of wave's own models
    elif "tile" not in {**found, **given} and given.get("tier") in TIER_TILES:
        found["tile"] = TIER_TILES[given["tier"]]
    return found


def _declared() -> tuple[CodingOption, ...]:
    """Read the options off the fields that have a description, in their order."""
    hints = get_type_hints(EncodeOptions, include_extras=True)
    options = []
    for field in fields(EncodeOptions):
        hint = hints[field.name]
        if get_origin(hint) is Annotated:
            kind, description = get_args(hint)
            options.append(
                CodingOption(
                    name=field.name, type=kind, default=field.default, description=description
                )
            )
    return tuple(options)


CODING_OPTIONS = _declared()
"""Every option of coding, in the order of the JSON."""
