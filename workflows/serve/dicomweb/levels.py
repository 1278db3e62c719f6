"""Which attributes belong to a study and which to a series, and which of them every search gives.

PS3.18 tables 10.6.3-3 to 10.6.3-5; what ``includefield`` may add at a level is of the modules
Patient, General Study, Patient Study, General Series and General Equipment (PS3.3 C.7.1 to C.7.5).
"""

from __future__ import annotations

from collections.abc import Iterable

from pydicom.datadict import tag_for_keyword

__all__ = [
    "INSTANCE_GIVEN",
    "KEPT",
    "SERIES",
    "SERIES_GIVEN",
    "SERIES_UID",
    "STUDY",
    "STUDY_GIVEN",
    "STUDY_UID",
]

STUDY_UID, SERIES_UID = "0020000D", "0020000E"


def _tags(keywords: Iterable[str]) -> frozenset[str]:
    return frozenset(f"{tag_for_keyword(one):08X}" for one in keywords)


STUDY_GIVEN = _tags(
    (
        *("SpecificCharacterSet", "StudyDate", "StudyTime", "AccessionNumber"),
        *("ReferringPhysicianName", "TimezoneOffsetFromUTC", "PatientName", "PatientID"),
        *("PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyID", "StudyDescription"),
    )
)
STUDY = STUDY_GIVEN | _tags(
    (
        *("IssuerOfPatientID", "PatientBirthTime", "OtherPatientNames", "PatientAge"),
        *("PatientSize", "PatientWeight", "PatientComments", "EthnicGroup", "Occupation"),
        *("AdditionalPatientHistory", "AdmittingDiagnosesDescription", "PhysiciansOfRecord"),
        *("NameOfPhysiciansReadingStudy", "PatientIdentityRemoved", "DeidentificationMethod"),
        *("PatientSpeciesDescription", "ResponsiblePerson"),
    )
)
SERIES_GIVEN = _tags(
    (
        *("SpecificCharacterSet", "Modality", "TimezoneOffsetFromUTC", "SeriesDescription"),
        *("SeriesInstanceUID", "SeriesNumber", "PerformedProcedureStepStartDate"),
        *("PerformedProcedureStepStartTime", "RequestAttributesSequence", "SeriesDate"),
        *("SeriesTime", "BodyPartExamined"),
    )
)
SERIES = SERIES_GIVEN | _tags(
    (
        *("ProtocolName", "Laterality", "PatientPosition", "PerformingPhysicianName"),
        *("OperatorsName", "PerformedProcedureStepID", "PerformedProcedureStepDescription"),
        *("FrameOfReferenceUID", "Manufacturer", "ManufacturerModelName", "InstitutionName"),
        *("InstitutionalDepartmentName", "StationName", "DeviceSerialNumber", "SoftwareVersions"),
        "SOPClassUID",
    )
)
INSTANCE_GIVEN = _tags(
    (
        *("SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "TimezoneOffsetFromUTC"),
        *("InstanceNumber", "Rows", "Columns", "BitsAllocated", "NumberOfFrames"),
    )
)
KEPT = STUDY | SERIES
"""What is kept in memory of every series."""
