"""Words that identify nobody: what is left of a text of which nobody knows what it says.

A description is cleaned by an allow-list: words of anatomy, techniques and directions stay, and
numbers with a unit; all else goes, names of people with it. A few surnames are words, too ("Long",
"Brain"): such a one stays, without anything that would tell that it was a name.
"""

from __future__ import annotations

import re

__all__ = ["cleaned", "is_code"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_DESCRIPTIVE = _words(
    """
    abd abdomen abdominal abdominopelvic abnormal ac accuray acetabulum achieva acl acuson adc
    adrenal adult aera aerosol agfa air aircraft airway all allura alpha and angio angiogram
    angiography angle ankle anterior anteroposterior aorta aortic ap aperio apex apical apparent
    appendix aquilion arm arterial arteries artery arthrogram arthrography artifact artis asl at
    atrium attenuation avanto average averaged ax axial axilla axiom axis azurion baby back band
    basal bed bffe bifurcation bilateral biliary biograph biopsy bladder blade blood blue body
    bold bolus bone bones bowel brachial brain breast breath breathhold brightspeed brilliance
    bronchi bronchus by calcaneus calcium calf calibration canon capillary capture cardiac
    cardiography carestream carotid caudal cavity cbf cbv cc cecum cell cells center centre
    cerebellum cerebral cervical chamber chest child cholangiography cine cirrus classification
    clavicle cloud clouds co coastal coccyx coefficient collection colon colonography
    colonoscopy color colour column compressed contrast contrasts cor cord coronal coronary corp
    corporation corrected correction cortex cpr cr cranial cranium csf cspine ct cta ctac ctpa
    cube cystography dce decubitus definition delay delayed dental depth derived detail
    diaphragm difference diffusion dimensions disc discovery distal diverticulum dixon doppler
    dorsal dose drive dsc dti dual duct duodenum dwi dx dynamic eadc ear early ecg echo
    echocardiogram edge elbow electric elekta elevation emission emotion endoscopy enhanced
    enterography eosin epi epiq equilibrium erect esaote esophagus espree eversion evi exam
    examination excretory extension extremities extremity eye eyes fa face facial fast fat
    fatsat fdg feet female femoral femur fetal fetus ffe fibula fiesta film filter finger
    fingers first flair flash flexion flow fluoro fluoroscopy fmri foot for force forearm
    forefoot four free from frontal fs fse fuji fujifilm functional fusion gallbladder gated
    gating ge gemini general genesis gland glands gmbh gradient grappa gray gre green grey groin
    guidance guided hamamatsu hand hard hase haste he head head-neck healthcare healthineers
    heart heel height helical hematoxylin hepatic high hindfoot hip hips hitachi hold hologic hu
    humerus iac ideal iliac image images imaginary imaging in inc infant inferior infrared
    ingenia ingenuity injection inphase intera internal intestine intracranial intravenous
    inversion io iqon ir isotropic iv ivus jaw joint joints jpeg kernel kidney kidneys knee
    knees kodak konica kub kv label larynx lat late lateral lava left leg legs leica lens lesion
    ligament lightspeed limb listmode liver ll lm lobe localizer locator logiq long lordotic
    lossless lossy low lower lspine ltd lumbar lumbosacral lung lungs lymph ma magnetom
    magnitude male mammary mammogram mammography mammomat mandible map maps mas mask mastoid
    maxilla maxillofacial mean medial mediastinum medical medison medium meniscus metacarpal
    metatarsal mg mindray minip minolta mip ml mlo monochrome motion mpr mprage mr mra mrcp mrs
    mrv mtt multi muscle myelography myocardium n/a nac narrow nasal nasion native navigator
    ndvi ndwi neck neonate nephrographic nerve nii nir nm no node nodes none normal normalized
    nose not not/ notch nuclear obl oblique obliques occipital oct of offset olympus om on
    opposed opt optic optima or oral orbit orbits original ot other out outphase ovary overview
    pa pan panchromatic pancreas panoramic parametric parotid parts patella pathology pc pd
    pediatric pelvic pelvis penis per percent perfusion perineum peripheral pet phantom pharynx
    phase phases philips photo pilot pituitary placenta plain plane planes plantar pleura
    popliteal portal position positioning positron post posterior posteroanterior pre prime
    prisma projected projection prone propeller prospective prostate protocol proximal psma pt
    pulmonary px qa qc quality quantitative radial radiance radiograph radiography radiotherapy
    radius ratio rcbf rcbv real recalled recon reconstructed reconstruction rectal rectum red
    reference reflectance reformat reformatted renal report res resolution respiratory rest
    retrospective revolution rf rib ribs right rl roche routine sacral sacroiliac sacrum sag
    sagittal samsung sat saturated scale scalp scan scanogram scans scapula score scoring scout
    screen screening scrotum se secondary section selenia sella senographe sensation sense
    septum sequence sequential series set sets sharp shimadzu short shoulder shoulders siemens
    signa signed single sinus sinuses sitting skeletal skin skull skyline skyra slab slice
    slices slide slope sm small smooth sn snow soft somatom space spair spect spectroscopy spin
    spinal spine spir spiral spleen spoiled ssfp stain stained standard standing state static
    steady sternal sternum stir stomach stress study sub subclavian subtract subtracted
    subtraction sum sunrise superior supine suppressed surface survey surview suv swan swi
    swimmer swir system systems t1 t2 t2star talus tangential teeth temperature temporal test
    testis tfe the thermal thick thigh thin thoracic thoracolumbar thorax thrive thumb thumbnail
    thymus thyroid tibia tile tiled tilt time tirm tissue to toe toes tof tomography
    tomosynthesis tongue tooth topogram toshiba tra trace tracer trachea trans transmission
    transversal transverse triggered triggering trio truefisp trufisp trunk tse tspine ttp tumor
    tumour turbo two ultra ultrasound uncompressed uncorrected unilateral united unknown
    unsigned upper upright ureter urethra urinary urography us uterus vagina valve vapor vapour
    varian vascular vein veins velocity venography venous ventana ventral ventricle ventricular
    verio vertebra vertebrae very vessel vessels via vibe vida view views visible vista vivid
    volume vrt vs washout water weighted weighting whole wide width window with without wrist xa
    xiphoid xray ysio zeiss
    """
)
"""Of medical images, their makers and their machines; of rasters, their bands. Lower case."""

_SHORT = re.compile(
    r"""[ctlsb]\d{1,2}(-[ctls]?\d{1,2})?      # C4, L5-S1, T2, B10
      | b(\d{1,3}|\d{1,2}00)                  # b1000 of diffusion, and no year
      | [bdhiqtu][rfv]?\d{2}[fhs]?           # kernels: B30f, I70f, Br40
      | [234]d                                # 3D
      | \d{1,3}(\.\d{1,3})?(mm|cm|um|µm|nm|m|ms|s|sec|min|kv|ma|mas|hz|mhz|t|kev|mgy|gy|ml|mm2|%|x)
      """,
    re.VERBOSE,
)

_SPACE_BEFORE_UNIT = re.compile(
    r"(?<![\w.])(\d{1,3}(?:\.\d{1,3})?)\s+(mm|cm|ms|kv|ma|mas|hz|mhz|kev|mgy|gy|ml)(?!\w)",
    re.IGNORECASE,
)
"""A number and its unit are one word: "5 mm"."""

_CODES = _words(
    """
    00 01 1 10 10918 129XE 13818 13C 14495 14496 15444 19F 1CM 1D 1H 2 2022 23008 23NA 2D 2D_EPI
    31P 3D 3D_TEMPORAL 420 422 4D 8859 ABDOMEN ABDOMENPELVIS ABSOLUTE ACQ ACQUISITION ADC
    ADDITION ADMIN ADOBERGB AEC AFDL AFDR ALL ALTERED ALUMINUM AND ANGIO ANGIOGRAPHY ANGULAR
    ANISO ANKLE ANONYMIZED ANTERIOR ANY AORTA AP APPLICABLE APPROVED ARGB ARM ARMS ARRAY ARRIVED
    ARTERIAL AT ATTENMAP ATTENUATION AUTO AUTOMATED AUTOMATIC AVAILABLE AVERAGE AXIAL AXILLARY B
    BARIUM BARTEN BASELINE BEAM BEAT BILATERAL BINARY BIPLANE BLACK BLADDER BODY BOLUS BONE BQML
    BRACHY BRAIN BREAST BREATH BREATHHOLD BRIGHTFIELD BSA BUTTERFLY BW CALCULATED CALF
    CALIBRATION CARBON CARDIAC CAROTID CARTESIAN CBF CBV CC CCW CENTER CENTRIC CERVICAL CG CGY
    CHEMICAL CHEST CHESTABDOMEN CHESTABDPELVIS CINE CIRCLE CIRCULAR CLAVICLE CLEAVAGE CLOCKWISE
    CLOSED CLOSEDPLANAR CLOSEDPLANAR_XOR CM2 CM2ML CMYK CNTS COCCYX COIL COL COLON COLOR COLUMN
    COMP COMPENSATION COMPLETE COMPLETED COMPLEX COMPRESSION CONDUCTIVITY CONE CONSTANT
    CONTINUOUS CONTRAST CONTROL COPPER CORONAL CORR COUNTER CPS CR CROSSED CSA CSAPARALLEL
    CSPINE CT CT-DERIVED CV CW DAILY DCAL DCM DCMR DECAY DECUBITUS DECY DEFAULT DELAYED DENSITY
    DEPTH DERIVED DETECTOR DF DI DIFFERENCE DIFFUSION DIGITAL DIMENSION DIOXIDE DIRECT
    DIRECTIONAL DIS DIS2D DIS3D DISCONTINUED DISPLAY DISPLAYP3 DIXON DLYD DOSE DRW DTIM DV DX
    DYNAMIC EAR EARLY ECG ECHO ED EDGE EDR EDW EFFECTIVE EKG ELBOW EMISSION ENCODED ENDORECTAL
    ENDOVAGINAL ENERGY EP EPI EPIC EPICARDIAL EQUALS EQUILIBRIUM ERECT ERROR ESOPHAGUS EXACT
    EXPOSURE EXTENDED EXTREMITY EYE F FA FALSE FAT FB FC FEMALE FEMUR FFDL FFDR FFE FFP FFS
    FIBER FIBULA FIELD FILM FILTER FINAL FINGER FIXED FLAIR FLAT FLOW FLUORESCENCE FM FMA FOCAL
    FOCUS FOCUSED FOOT FOR FRACTION FRACTIONAL FRAME FREE FREQUENCY FS FSE FULL GADOLINIUM
    GANTRY GATED GB18030 GBK GEMS GML GR GRADIENT GRAY GRAYSCALE GRE GRID GY HALF HAND HASTE
    HEAD HEADNECK HEART HELICAL HFDL HFDR HFP HFS HIGH HIP HOLD HSV HU HUMAN HUMERUS HU_MOD IBW
    ICC ICT IDENTITY IFLOW IMAGE IMAGES IMAGINARY IN INFERIOR INPHASE INTENSIFIER INTERVAL
    INTRAVENOUS INVERSE INVERSION IO IODINE IR ISO ISOTROPIC ISO_10918_1 ISO_13818_2 ISO_14495_1
    ISO_14496_10 ISO_15444_1 ISO_15444_2 ISO_23008_2 JAW KIDNEY KNEE KNOWN KSPACE L LABEL
    LABELMAP LANDSCAPE LARGE LATE LATERAL LATIN LBM LEFT LEG LEGS LFP LFS LIMB LIMIT LIN LINEAR
    LIVER LL LLD LLO LM LMO LN LOCALIZER LOG LONGITUDINAL LOW LOWER LSPINE LUMBAR LUNG LUT M
    MAGNITUDE MALE MANUAL MAP MAXIMUM MEAN MEAS MEASURED MEDIAL MEDIAN MEDIASTINUM MEDIUM MG
    MGML MINIMUM MINIP MIP MIXED ML MLO MODE MODIFIED MODULUS MOLYBDENUM MONOCHROME1 MONOCHROME2
    MOTION MOVED MP MPH MPR MR MTC MTT MULTI MULTICOIL MULTIPLE N NA NAVIGATOR ND NECK NECKCHEST
    NEUTERED NM NM_TOMO NO NON NONE NORM NORMAL NORMALIZED NOSE NOT NOTHING NULL O OBLIQUE
    OBSTETRICAL OCCUPANCY OD OF OFF ON OPEN OPENNONPLANAR OPENPLANAR OPPOSED OR ORAL ORBIT
    ORIGINAL OSP OT OTHER OUTPHASE OVERVIEW P PA PAIRED PALETTE PANCREAS PARALLEL PARTIAL PARTS
    PATIENT PCT PD PEAK PEDIATRIC PELVIS PER PERFUSION PFDL PFDR PFF PFP PHANTOM PHASE PHYSICAL
    PILOT PILS PLAN PLANAR PLANE POINT POLYGONAL PORTAL PORTRAIT POSITRON POST POSTERIOR PPG PRE
    PRELIMINARY PRESAT PRESENTATION PRESSURE PRIMARY PROBABILITY PROCESSED PROCESSING PROGRESS
    PROJECTION PRONE PROPCNTS PROPCPS PROSPECTIVE PROSTATE PROTON PSEUDO PT PULSED PX QUADRATURE
    QUALITY R RADIAL RADIUS RADLEX RAINBOW RANDOMS RATE RCBF RCBV RCT READOUT READY REAL
    REALTIME RECEIVE RECON RECORD RECOVERY RECTAL RECTANGULAR RECUMBENT REFLECTED REFORMATTED
    REJECTED RELATIVE REMOVED REORDERING RESAMPLED RESPIRATORY REST RETRACTED RETROSPECTIVE RF
    RFP RFS RG RGB RHODIUM RIB RIGHT RL RLD RLO RM ROMMRGB ROTATION ROUNDED ROUTINE ROW ROWCOL
    RR RTDOSE RTPLAN RTSTRUCT SACRAL SAGITTAL SAT1 SAT2 SATURATION SC SCAN SCATTER SCHEDULED
    SCINTILLATOR SCOUT SCT SD SE SECONDARY SEG SEGMENTED SEMIAUTOMATIC SENSE SEQ SEQUENCED
    SEQUENTIAL SERVICE SESSION SHAPE SHARP SHIFT SHOOT SHOULDER SI SIGMOID SIGNAL SILICONE
    SILVER SING SINGLE SINUS SIO SITTING SK SKULL SLAB SLICE SLIDE SM SMALL SMASH SMOOTH SNM3
    SOFT SOM4 SOM5 SOM7 SP SPAIR SPARSE SPECIMEN SPECTRAL SPI SPIN SPINE SPIRAL SPLEEN SPOILED
    SRC SRGB SRT SS SSPINE STANDING START STARTED STAT STATE STATIC STATIONARY STD STDDEV STEADY
    STEP STERNUM STIR STOMACH STORAGE STRESS STRIP SUBTRACTION SUM SUPERIOR SUPINE SUPPLEMENTAL
    SUPPRESSION SURFACE SUV SUVBSA SUVBW SUVLBM SYN T1 T2 T2STAR TABLE TEST THIGH THORACIC THUMB
    THUMBNAIL THYROID TIBIA TILED TILEPRESS TILT TISSUE TOE TOF TOMO TOMOGRAPHIC TOMOSYNTHESIS
    TOP TRACE TRACEW TRACHEA TRANSESOPHAGEAL TRANSMISSION TRANSMIT TRANSPARENT TRANSTHORACIC
    TRANSVERSAL TRANSVERSE TRIGGERED TRUE TSE TSPINE TTP TUBE TUNGSTEN U UCUM ULNA UNALTERED
    UNAPPROVED UNDEFINED UNDIFFERENTIATED UNFINALIZED UNIFORM UNKNOWN UNMODIFIED UNPAIRED
    UNSPECIFIED UNVERIFIED UPPER UPRIGHT URGENT US UTERUS UTF VALUE VALUES VASCULAR VELOCITY
    VENOUS VERIFIED VOI VOLUME VRT WATER WAVE WEDGE WHITE WHOLE WHOLEBODY WINDOW WRIST WSD XA
    XCC XCCL XCCM XENON XOR Y YBR YES
    """
)
"""Parts of defined terms and enumerated values of the standard, and of what scanners write."""

_CODE_PART = re.compile(r"[A-Z]|\d{1,3}|0\d{3}|[A-Z]\d|\d[A-Z]|[ALPRHF]{2,3}")
"""Letters, short numbers, and directions in the patient (PS3.3 C.7.6.1.1.1)."""


def cleaned(text: str) -> str:
    """Return what is left of a text: known words and what stands in ``_SHORT``, with spaces."""
    text = _SPACE_BEFORE_UNIT.sub(r"\1\2", text)
    words = re.split(r"[\s,;:()\[\]{}\"'^_=+*?!|<>\\&]+", text)
    return " ".join(kept for word in words if (kept := _kept(word)))


def _kept(word: str) -> str:
    """Return a word, or those parts of it that are known."""
    low = word.lower().strip(".-/")
    if low in _DESCRIPTIVE or _SHORT.fullmatch(low):
        return word.strip(".-/")
    parts = re.split(r"[-/.]+", word)
    if len(parts) == 1:
        return ""
    return " ".join(part for part in parts if part.lower() in _DESCRIPTIVE)


def is_code(value: str) -> bool:
    """Whether a code string is made of known terms: nobody has hidden a name in it.

    Letters one by one may spell a name, and numbers one after another be a telephone's: of each
    there is one at most.
    """
    if value in _CODES:
        return True
    parts = [part for part in re.split(r"[ _/\-]", value) if part]
    known = bool(parts) and all(part in _CODES or _CODE_PART.fullmatch(part) for part in parts)
    letters = sum(len(part) == 1 and part.isalpha() for part in parts)
    numbers = sum(part.isdigit() and part not in _CODES for part in parts)
    return known and letters <= 1 and numbers <= 1
