"""Names of products tell when they were taken; other names tell nothing."""

from __future__ import annotations

import pytest

from tilepress.pipeline.geotiff.product_names import acquired_by_name

MOMENTS = [
    ("S2A_MSIL1C_20180101T105441_N0206_R051_T31TDH_20180101T124911.SAFE", "2018-01-01T10:54:41"),
    ("T31TDH_20180101T105441_B01.jp2", "2018-01-01T10:54:41"),
    ("L2A_T31TDH_20180101T105441_B02_10m.jp2", "2018-01-01T10:54:41"),
    ("HLS.L30.T18TYN.2020123T153042.v2.0.B04.tif", "2020-05-02T15:30:42"),
    ("20180101_105441_1034_3B_AnalyticMS.tif", "2018-01-01T10:54:41"),
]
DAYS = [
    ("LC08_L1TP_220063_20150711_20170407_01_T1_B4.TIF", "2015-07-11"),
    ("LC08_L2SP_220063_20150711_20200908_02_T1_SR_B4.TIF", "2015-07-11"),
    ("LE07_L1TP_220063_20150711_20170407_01_T1.tif", "2015-07-11"),
    ("LC81060712016134LGN00_B3.TIF", "2016-05-13"),
    ("LC80030172015001LGN00_B5.tiff", "2015-01-01"),
    ("LS5_TM_NBAR_P54_GANBAR01-002_090_084_19920323_B10.tif", "1992-03-23"),
    ("LS8_OLI_TIRS_NBAR_P54_GANBAR01-032_090_084_20131011_B4.tif", "2013-10-11"),
    ("ga_ls8c_nbart_3-0-0_090084_2020-05-18_final_band01.tif", "2020-05-18"),
    ("2020-09-17_Sentinel_2_L1C_B04.tiff", "2020-09-17"),
    ("2020-09-17-00_00_2020-09-17-23_59_Sentinel-2_L2A_B04_(Raw).tiff", "2020-09-17"),
    ("S2A_29RKH_20200219_0_L2A__B08.tif", "2020-02-19"),
    ("MOD09GA.A2018001.h18v04.006.2018003031012.hdf", "2018-01-01"),
    ("MYD13Q1.A2016366.h18v04.006.2017014062542.tif", "2016-12-31"),
    ("VNP46A2.A2021100.h08v05.001.2021109033321.h5", "2021-04-10"),
    ("MOD021KM.A2018001.1035.061.2018001192013.hdf", "2018-01-01"),
    ("m_4207220_ne_18_060_20190812_20191010.tif", "2019-08-12"),
    ("m_3008601_ne_16_1_20150804.tif", "2015-08-04"),
]
SPANS = [
    (
        "S1A_IW_GRDH_1SDV_20150101T054012_20150101T054037_003984_004CBC_D5C5.SAFE",
        ("2015-01-01T05:40:12", "2015-01-01T05:40:37"),
    ),
    (
        "s1a-iw-grd-vv-20150101t054012-20150101t054037-003984-004cbc-001.tiff",
        ("2015-01-01T05:40:12", "2015-01-01T05:40:37"),
    ),
    (
        "S3A_OL_1_EFR____20180101T105441_20180101T105741_20180102T151230_0179_026_222_2160.SEN3",
        ("2018-01-01T10:54:41", "2018-01-01T10:57:41"),
    ),
]
OTHERS = [
    "scene.tif",
    "20180101.tif",
    "dem_20200101.tif",
    "LC08_L1TP_220063_20151341_20170407_01_T1_B4.TIF",  # no such month
    "LC81060712016999LGN00_B3.TIF",  # no such day
    "T31TDH_20180101T995441_B01.jp2",
    "m_4207220_ne_18_060_20190230.tif",
    "patient_20180101_105441.tif",
    "2020-09-17_report_of_Sentinel_2.tif",
    "2020-09-01-00_00_2020-09-30-23_59_Sentinel-2_L2A_B04.tiff",  # a month's mosaic
    "2020-13-17_Sentinel_2_L1C_B04.tiff",
    "LS5_TM_NBAR_P54_GANBAR01-002_090_084_19921323_B10.tif",
    "S1A_IW_GRDH_1SDV_20150101T054037_20150101T054012_003984_004CBC_D5C5.SAFE",  # ends before
    "",
]


class TestNames:
    @pytest.mark.parametrize(("name", "want"), MOMENTS)
    def test_tell_the_second(self, name: str, want: str) -> None:
        found = acquired_by_name(name)
        assert found is not None
        assert found.time.isoformat() == f"{want}+00:00"
        assert found.until is None
        assert found.tag.startswith("file name")

    @pytest.mark.parametrize(("name", "want"), DAYS)
    def test_tell_the_day(self, name: str, want: str) -> None:
        found = acquired_by_name(name)
        assert found is not None
        assert found.until is not None
        assert found.time.isoformat() == f"{want}T00:00:00+00:00"
        assert found.until.isoformat() == f"{want}T23:59:59+00:00"

    @pytest.mark.parametrize(("name", "want"), SPANS)
    def test_tell_both_ends(self, name: str, want: tuple[str, str]) -> None:
        found = acquired_by_name(name)
        assert found is not None
        assert found.until is not None
        assert (found.time.isoformat()[:19], found.until.isoformat()[:19]) == want

    @pytest.mark.parametrize("name", OTHERS)
    def test_others_tell_nothing(self, name: str) -> None:
        assert acquired_by_name(name) is None
