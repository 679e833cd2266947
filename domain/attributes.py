"""The information model: which attributes are indexed, and at which level they answer (PS3.4 C.6.1, C.6.2).

Each line is keyword, tag, VR. The scanner extracts these, the facts and particulars carry them in the DICOM JSON
Model, the catalogue keeps them and C-FIND matches and returns them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Level(IntEnum):
    """A level of the Query/Retrieve information model; the value orders them from the root down."""

    PATIENT = 0
    STUDY = 1
    SERIES = 2
    IMAGE = 3

    @property
    def unique_key(self) -> str:
        """The tag of the level's unique key, as eight hex digits."""
        return _UNIQUE_KEYS[self]


_UNIQUE_KEYS = {
    Level.PATIENT: "00100020",
    Level.STUDY: "0020000D",
    Level.SERIES: "0020000E",
    Level.IMAGE: "00080018",
}


@dataclass(frozen=True, slots=True)
class Attribute:
    """One indexed attribute: ``tag`` is eight upper-case hex digits."""

    keyword: str
    tag: str
    vr: str
    level: Level


_MODEL = {
    Level.PATIENT: """
        PatientName 00100010 PN
        PatientID 00100020 LO
        IssuerOfPatientID 00100021 LO
        TypeOfPatientID 00100022 CS
        IssuerOfPatientIDQualifiersSequence 00100024 SQ
        PatientBirthDate 00100030 DA
        PatientBirthTime 00100032 TM
        PatientSex 00100040 CS
        OtherPatientNames 00101001 PN
        OtherPatientIDsSequence 00101002 SQ
        PatientBirthName 00101005 PN
        PatientMotherBirthName 00101060 PN
        EthnicGroup 00102160 SH
        PatientComments 00104000 LT
        PatientSpeciesDescription 00102201 LO
        ResponsiblePerson 00102297 PN
    """,
    Level.STUDY: """
        StudyInstanceUID 0020000D UI
        StudyDate 00080020 DA
        StudyTime 00080030 TM
        AccessionNumber 00080050 SH
        IssuerOfAccessionNumberSequence 00080051 SQ
        ReferringPhysicianName 00080090 PN
        ConsultingPhysicianName 0008009C PN
        TimezoneOffsetFromUTC 00080201 SH
        StudyDescription 00081030 LO
        ProcedureCodeSequence 00081032 SQ
        PhysiciansOfRecord 00081048 PN
        NameOfPhysiciansReadingStudy 00081060 PN
        AdmittingDiagnosesDescription 00081080 LO
        ReferencedStudySequence 00081110 SQ
        PatientAge 00101010 AS
        PatientSize 00101020 DS
        PatientWeight 00101030 DS
        Occupation 00102180 SH
        AdditionalPatientHistory 001021B0 LT
        StudyID 00200010 SH
        AdmissionID 00380010 LO
        RequestingService 00321033 LO
    """,
    Level.SERIES: """
        SeriesInstanceUID 0020000E UI
        Modality 00080060 CS
        SeriesNumber 00200011 IS
        SeriesDate 00080021 DA
        SeriesTime 00080031 TM
        SeriesDescription 0008103E LO
        SeriesDescriptionCodeSequence 0008103F SQ
        Laterality 00200060 CS
        BodyPartExamined 00180015 CS
        PatientPosition 00185100 CS
        ProtocolName 00181030 LO
        Manufacturer 00080070 LO
        ManufacturerModelName 00081090 LO
        DeviceSerialNumber 00181000 LO
        SoftwareVersions 00181020 LO
        InstitutionName 00080080 LO
        InstitutionalDepartmentName 00081040 LO
        StationName 00081010 SH
        PerformingPhysicianName 00081050 PN
        OperatorsName 00081070 PN
        ReferencedPerformedProcedureStepSequence 00081111 SQ
        FrameOfReferenceUID 00200052 UI
        PerformedProcedureStepStartDate 00400244 DA
        PerformedProcedureStepStartTime 00400245 TM
        PerformedProcedureStepEndDate 00400250 DA
        PerformedProcedureStepEndTime 00400251 TM
        PerformedProcedureStepID 00400253 SH
        PerformedProcedureStepDescription 00400254 LO
        PerformedProtocolCodeSequence 00400260 SQ
        RequestAttributesSequence 00400275 SQ
    """,
    Level.IMAGE: """
        SOPClassUID 00080016 UI
        SOPInstanceUID 00080018 UI
        ImageType 00080008 CS
        InstanceCreationDate 00080012 DA
        InstanceCreationTime 00080013 TM
        AcquisitionDate 00080022 DA
        ContentDate 00080023 DA
        AcquisitionDateTime 0008002A DT
        AcquisitionTime 00080032 TM
        ContentTime 00080033 TM
        AcquisitionNumber 00200012 IS
        InstanceNumber 00200013 IS
        ImagePositionPatient 00200032 DS
        ImageOrientationPatient 00200037 DS
        SliceLocation 00201041 DS
        SliceThickness 00180050 DS
        SamplesPerPixel 00280002 US
        PhotometricInterpretation 00280004 CS
        NumberOfFrames 00280008 IS
        Rows 00280010 US
        Columns 00280011 US
        PixelSpacing 00280030 DS
        BitsAllocated 00280100 US
        BitsStored 00280101 US
        PixelRepresentation 00280103 US
        WindowCenter 00281050 DS
        WindowWidth 00281051 DS
        LossyImageCompression 00282110 CS
        ConceptNameCodeSequence 0040A043 SQ
        CompletionFlag 0040A491 CS
        VerificationFlag 0040A493 CS
        ContentLabel 00700080 CS
        PresentationCreationDate 00700082 DA
        PresentationCreationTime 00700083 TM
        MIMETypeOfEncapsulatedDocument 00420012 LO
    """,
}

ATTRIBUTES: tuple[Attribute, ...] = tuple(
    Attribute(keyword, tag, vr, level)
    for level, text in _MODEL.items()
    for keyword, tag, vr in (line.split() for line in text.strip().splitlines())
)
_BY_KEYWORD = {attribute.keyword: attribute for attribute in ATTRIBUTES}
TIME_OF_DATE: dict[str, str] = {
    one.tag: _BY_KEYWORD[f"{one.keyword.removesuffix('Date')}Time"].tag
    for one in ATTRIBUTES
    if one.vr == "DA" and f"{one.keyword.removesuffix('Date')}Time" in _BY_KEYWORD
}
"""The tag of each DA attribute to that of the TM attribute which tells the time of that day."""

BY_TAG: dict[str, Attribute] = {attribute.tag: attribute for attribute in ATTRIBUTES}

COMPUTED: tuple[Attribute, ...] = (
    Attribute("NumberOfPatientRelatedStudies", "00201200", "IS", Level.PATIENT),
    Attribute("NumberOfPatientRelatedSeries", "00201202", "IS", Level.PATIENT),
    Attribute("NumberOfPatientRelatedInstances", "00201204", "IS", Level.PATIENT),
    Attribute("ModalitiesInStudy", "00080061", "CS", Level.STUDY),
    Attribute("SOPClassesInStudy", "00080062", "UI", Level.STUDY),
    Attribute("NumberOfStudyRelatedSeries", "00201206", "IS", Level.STUDY),
    Attribute("NumberOfStudyRelatedInstances", "00201208", "IS", Level.STUDY),
    Attribute("NumberOfSeriesRelatedInstances", "00201209", "IS", Level.SERIES),
    Attribute("AvailableTransferSyntaxUID", "00083002", "UI", Level.IMAGE),
)
"""Attributes that the catalogue computes from what is stored (correctness C1.16)."""

BY_TAG.update({attribute.tag: attribute for attribute in COMPUTED})
