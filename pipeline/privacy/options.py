"""What is done with an attribute: as the table says, or as an option that is asked for.

Which attributes an option is about is not in the table. These are rules of our own, by VR and
keyword, made after what PS3.15 E.3 says of each option. In doubt an attribute is in none of them,
and the basic profile holds:

    retain-uids                          UIDs that the profile would replace or remove
    retain-longitudinal-modified-dates   dates and times of events
    clean-descriptors                    texts that describe the image or how it was made
    the others                           attributes by name
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from pydicom.datadict import dictionary_has_tag, dictionary_is_retired, dictionary_VR

from tilepress.pipeline.privacy.profile import (
    CHARACTERISTICS,
    DESCRIPTORS,
    DEVICE,
    INSTITUTION,
    MODIFIED_DATES,
    UIDS,
    Profile,
)
from tilepress.pipeline.privacy.table import Action, table

__all__ = ["action_of", "actions_by_option"]

_MOST_KEPT_FIRST = (Action.KEEP, Action.SHIFT, Action.CLEAN)


def _keywords(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SOME_VALUE = _keywords("Date DateTime Time UID SelectorDAValue SelectorDTValue SelectorTMValue")
"""The value of whatever a report or a display is about: a date of birth, too."""

_NO_UIDS = _SOME_VALUE | {"DigitalSignatureUID"}
"""Signatures go: what was signed is no longer what it was."""

_NO_EVENTS = _SOME_VALUE | _keywords(
    """
    PatientBirthDate PatientBirthTime GPSDateStamp GPSTimeStamp
    ContextGroupVersion ContextGroupLocalVersion TemplateVersion TemplateLocalVersion
    """
)
"""Births; when somebody was at a place; and versions, which would be others when moved."""

_TIMES = frozenset({"DA", "TM", "DT"})
_TEXTS = frozenset({"LO", "LT", "SH", "ST", "UC", "UT"})

_DESCRIPTOR_ENDS = ("Comments", "Description", "Label", "Narrative", "Notes")
_DESCRIPTORS = _keywords(
    """
    CommentsOnRadiationDose CommentsOnThePerformedProcedureStep ContrastBolusAgent
    PositionAcquisitionTemplateName ProtocolName ROIName RTPlanName RequestedContrastAgent
    StructureSetName TreatmentSite
    """
)
_NO_DESCRIPTORS = frozenset({"AcquisitionContextDescription"})
"""Circumstances of any kind, and what was the patient's among them."""
_WAVEFORMS = 0x003A

_DEVICES = _keywords(
    """
    CassetteID DetectorID DeviceDescription DeviceLabel DeviceSerialNumber DeviceUID GantryID
    GeneratorID LensMake LensModel LensSerialNumber LensSpecification ManufacturerDeviceIdentifier
    PerformedStationName PlateID ScheduledStationName SourceManufacturer SourceSerialNumber
    StationName TreatmentMachineName UniqueDeviceIdentifier XRayDetectorID XRayDetectorLabel
    XRaySourceID
    """
)

_INSTITUTIONS = _keywords(
    """
    InstitutionAddress InstitutionName InstitutionalDepartmentName
    InstitutionalDepartmentTypeCodeSequence
    """
)

_CHARACTERISTICS = _keywords(
    """
    EthnicGroup PatientAge PatientSex PatientSexNeutered PatientSize PatientWeight PregnancyStatus
    SmokingStatus
    """
)
_CHARACTERISTICS_IN_WORDS = _keywords("Allergies PatientState PreMedication SpecialNeeds")


def action_of(tag: int, profile: Profile) -> Action | None:
    """Return what is to be done with an attribute; None where the table does not have it.

    Of several options the one that keeps more of it counts, as the standard has it.
    """
    row = table().get(tag)
    if row is None:
        return None
    by_option = actions_by_option(tag)
    asked = {by_option[name] for name in profile.names if name in by_option}
    return next((action for action in _MOST_KEPT_FIRST if action in asked), row.basic)


@cache
def actions_by_option(tag: int) -> Mapping[str, Action]:
    """Return what options do with an attribute of the table, by their names; {}: none is about it.

    An attribute that pydicom's dictionary does not have yet has no VR: no option is about it.
    """
    row = table().get(tag)
    if row is None or not dictionary_has_tag(tag):
        return {}
    vr, keyword = dictionary_VR(tag), row.keyword
    found: dict[str, Action] = {}
    if vr == "UI" and row.code in ("U", "X") and keyword not in _NO_UIDS:
        found[UIDS] = Action.KEEP
    if vr in _TIMES and keyword not in _NO_EVENTS:
        found[MODIFIED_DATES] = Action.SHIFT
    if vr in _TEXTS and _is_descriptor(tag, keyword):
        found[DESCRIPTORS] = Action.CLEAN
    if keyword in _DEVICES:
        found[DEVICE] = Action.KEEP
    if keyword in _INSTITUTIONS:
        found[INSTITUTION] = Action.KEEP
    if keyword in _CHARACTERISTICS:
        found[CHARACTERISTICS] = Action.KEEP
    if keyword in _CHARACTERISTICS_IN_WORDS:
        found[CHARACTERISTICS] = Action.CLEAN
    return found


def _is_descriptor(tag: int, keyword: str) -> bool:
    """Whether a text is about an image: not about the patient, a device or a waveform.

    Retired attributes go: few readers want them, and old files have anything in them.
    """
    if keyword in _NO_DESCRIPTORS or tag >> 16 == _WAVEFORMS or dictionary_is_retired(tag):
        return False
    if "Patient" in keyword or keyword.startswith("Device") or keyword in _DEVICES:
        return False
    return keyword in _DESCRIPTORS or keyword.endswith(_DESCRIPTOR_ENDS)
