"""DICOM stores of an archive, by DICOMweb (PS3.18): search, metadata, instances, frames, pictures.

holdings   which studies and series there are, and what holds them
search     QIDO-RS
accept     what a client takes
parts      multipart answers
retrieve   WADO-RS
pictures   rendered frames
routes     addresses
"""
