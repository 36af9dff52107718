"""The words of phantom reports: own wording, plain English of the reading room, few distinct words.

Slots: `{side}`, `{place}`, `{size}` and the like are filled by `grammar.py`. A noun phrase stands
without its article.
"""

from dataclasses import dataclass

from editgrpo.phantom.findings import Kind, Progress, Size

SEVERITY = {Size.SMALL: "mild", Size.MODERATE: "moderate", Size.LARGE: "severe"}
DEGREE = {Size.SMALL: "mildly", Size.MODERATE: "moderately", Size.LARGE: "severely"}
EXTENT = {Size.SMALL: "small", Size.MODERATE: "moderate", Size.LARGE: "large"}

# Singular noun phrases of each finding.
NOUNS: dict[Kind, tuple[str, ...]] = {
    Kind.CARDIOMEGALY: (
        "{severity} cardiomegaly",
        "{severity} enlargement of the heart",
        "{severity} enlargement of the cardiac silhouette",
    ),
    Kind.WIDE_MEDIASTINUM: (
        "widening of the mediastinum",
        "mediastinal widening",
        "enlargement of the mediastinum",
    ),
    Kind.OPACITY: (
        "patchy opacity in the {place}",
        "hazy opacity in the {place}",
        "{place} opacity",
        "faint opacity in the {place}",
    ),
    Kind.CONSOLIDATION: (
        "{place} consolidation",
        "consolidation in the {place}",
        "focal consolidation in the {place}",
        "dense consolidation of the {place}",
    ),
    Kind.EDEMA: (
        "{severity} pulmonary edema",
        "{severity} interstitial edema",
        "{severity} edema",
    ),
    Kind.ATELECTASIS: (
        "{base} atelectasis",
        "linear atelectasis at the {base_noun}",
        "atelectasis at the {base_noun}",
        "{base} linear atelectasis",
    ),
    Kind.NODULE: (
        "{place} {lesion}",
        "{lesion} in the {place}",
        "rounded {lesion} in the {place}",
    ),
    Kind.PNEUMOTHORAX: (
        "{extent} {side} pneumothorax",
        "{extent} {side} apical pneumothorax",
        "{side} pneumothorax",
    ),
    Kind.EFFUSION: (
        "{extent} {side} pleural effusion",
        "{extent} {side} effusion",
        "{extent} pleural effusion on the {side}",
    ),
    Kind.PLEURAL_THICKENING: (
        "{side} pleural thickening",
        "pleural thickening on the {side}",
        "{side} sided pleural thickening",
    ),
    Kind.FRACTURE: (
        "{side} rib fracture",
        "displaced {side} rib fracture",
        "fracture of a {side} rib",
    ),
    Kind.ENDOTRACHEAL_TUBE: (
        "endotracheal tube",
        "ET tube",
    ),
    Kind.GASTRIC_TUBE: (
        "nasogastric tube",
        "NG tube",
        "enteric tube",
    ),
    Kind.CENTRAL_LINE: (
        "{side} internal jugular central line",
        "{side} central venous catheter",
        "{side} jugular catheter",
    ),
    Kind.PACEMAKER: (
        "{side} chest pacemaker",
        "{side} sided pacemaker",
        "{side} pacemaker",
    ),
}

# Bilateral findings in the plural, with "are".
PLURAL_NOUNS: dict[Kind, tuple[str, ...]] = {
    Kind.EFFUSION: (
        "{extent} bilateral pleural effusions",
        "{extent} pleural effusions on both sides",
        "{extent} bilateral effusions",
    ),
}

# Bare captions, in words that no site's reports use for the finding (`Phrasing.caption_share`).
CAPTIONS: dict[Kind, str] = {
    Kind.CARDIOMEGALY: "Big heart, cardiomegaly",
    Kind.WIDE_MEDIASTINUM: "Wide mediastinum",
    Kind.OPACITY: "Opacity",
    Kind.CONSOLIDATION: "Consolidation",
    Kind.EDEMA: "Lung edema",
    Kind.ATELECTASIS: "Atelectasis",
    Kind.NODULE: "Nodule",
    Kind.PNEUMOTHORAX: "Pneumothorax",
    Kind.EFFUSION: "Effusion",
    Kind.PLEURAL_THICKENING: "Pleural thickening",
    Kind.FRACTURE: "Broken rib, fracture",
    Kind.ENDOTRACHEAL_TUBE: "Tracheal tube",
    Kind.GASTRIC_TUBE: "Gastric tube",
    Kind.CENTRAL_LINE: "Central line",
    Kind.PACEMAKER: "Pacemaker",
}
NO_CAPTION = "Nothing to name."
# Findings whose caption ends with their size.
SIZED = frozenset(
    {
        Kind.CARDIOMEGALY,
        Kind.OPACITY,
        Kind.CONSOLIDATION,
        Kind.EDEMA,
        Kind.ATELECTASIS,
        Kind.NODULE,
        Kind.PNEUMOTHORAX,
        Kind.EFFUSION,
    }
)

# Whole sentences beside the frames below; used where there is no prior study.
SENTENCES: dict[Kind, tuple[str, ...]] = {
    Kind.CARDIOMEGALY: (
        "The heart is {degree} enlarged.",
        "Heart size is {degree} enlarged.",
        "The cardiac silhouette is {degree} enlarged.",
        "The heart size is {degree} increased.",
    ),
    Kind.WIDE_MEDIASTINUM: (
        "The mediastinum is widened.",
        "The upper mediastinum appears widened.",
        "The mediastinum is enlarged.",
    ),
    Kind.OPACITY: (
        "The {place} shows patchy opacity.",
        "Patchy opacity projects over the {place}.",
    ),
    Kind.CONSOLIDATION: ("The {place} is consolidated.", "The {place} shows dense consolidation."),
    Kind.NODULE: ("A rounded {lesion} projects over the {place}.",),
    Kind.FRACTURE: ("One {side} rib is fractured.",),
    Kind.ENDOTRACHEAL_TUBE: (
        "Endotracheal tube tip is above the carina.",
        "The endotracheal tube ends above the carina.",
        "ET tube in good position.",
    ),
    Kind.GASTRIC_TUBE: (
        "Nasogastric tube tip is in the stomach.",
        "The enteric tube ends in the stomach.",
        "NG tube in good position.",
    ),
    Kind.CENTRAL_LINE: (
        "{Side} central line tip is in the SVC.",
        "A {side} jugular catheter ends in the SVC.",
        "The {side} central venous catheter ends in the SVC.",
    ),
    Kind.PACEMAKER: (
        "{Side} pacemaker with leads in the heart.",
        "A {side} chest pacemaker has leads in good position.",
    ),
}

# Frames for a noun phrase: {np} bare, {a} with its article, {the} with "the", {is} agreeing.
FRAMES: dict[Progress, tuple[str, ...]] = {
    Progress.NONE: (
        "There {is} {a}.",
        "{A} {is} seen.",
        "{A} {is} present.",
        "{A} {is} noted.",
    ),
    Progress.NEW: (
        "There {is} {a_new}.",
        "New {np}.",
        "{A_new} {is} seen.",
        "{A} {is} new since the prior study.",
    ),
    Progress.UNCHANGED: (
        "Unchanged {np}.",
        "{The} {is} unchanged.",
        "{Np}, unchanged from prior.",
        "Stable {np}.",
        "Again seen {is} {a}.",
    ),
    Progress.LARGER: (
        "{Np}, increased from prior.",
        "{The} {has} increased.",
        "Increased {np}.",
        "There {is} {a}, larger than before.",
    ),
    Progress.SMALLER: (
        "{Np}, decreased from prior.",
        "{The} {has} decreased.",
        "Decreased {np}.",
        "There {is} {a}, smaller than before.",
    ),
    Progress.RESOLVED: (
        "No residual {np}.",
        "There is no longer {any}.",
        "{The} {is} no longer seen.",
    ),
}
TERSE_FRAME = "{Np}."
HEDGED_FRAMES: tuple[str, ...] = (
    "Possible {np}.",
    "There may be {a}.",
    "{A} {is} suspected.",
    "Probable {np}.",
)
REMOVED_FRAMES: tuple[str, ...] = ("{The} has been removed.", "Interval removal of {the}.")
HEDGEABLE = frozenset(
    {Kind.OPACITY, Kind.CONSOLIDATION, Kind.ATELECTASIS, Kind.NODULE, Kind.FRACTURE, Kind.EFFUSION}
)
PNEUMONIA_TAILS: tuple[str, ...] = (
    ", concerning for pneumonia.",
    ", suspicious for pneumonia.",
    ", consistent with pneumonia.",
    ", compatible with pneumonia.",
)
PNEUMONIA_NOUNS: tuple[str, ...] = ("{place} pneumonia", "pneumonia in the {place}")


@dataclass(frozen=True, slots=True)
class NormalPhrase:
    """A sentence that denies findings; it fits when none of them is in the study."""

    text: str
    denies: frozenset[Kind]


def _normal(text: str, *kinds: Kind) -> NormalPhrase:
    return NormalPhrase(text, frozenset(kinds))


_AIRSPACE = (Kind.OPACITY, Kind.CONSOLIDATION, Kind.EDEMA, Kind.ATELECTASIS, Kind.NODULE)

_HEART = Kind.CARDIOMEGALY
_SILHOUETTE = (Kind.CARDIOMEGALY, Kind.WIDE_MEDIASTINUM)
_PLEURA = (Kind.EFFUSION, Kind.PNEUMOTHORAX)

NORMAL_HEART: tuple[NormalPhrase, ...] = (
    _normal("The heart is normal in size and contour.", _HEART),
    _normal("The cardiomediastinal silhouette is within normal limits.", *_SILHOUETTE),
    _normal("Heart size and mediastinum are normal.", *_SILHOUETTE),
    _normal("Heart size is within normal limits.", _HEART),
    _normal("The cardiac silhouette is normal in size.", _HEART),
    _normal("The mediastinum is unremarkable.", Kind.WIDE_MEDIASTINUM),
    _normal("Mediastinal contours are normal.", Kind.WIDE_MEDIASTINUM),
    _normal("The heart and mediastinum are within normal limits.", *_SILHOUETTE),
    _normal("Cardiomediastinal silhouette is unremarkable.", *_SILHOUETTE),
    _normal("Normal heart size.", _HEART),
)
NORMAL_LUNGS: tuple[NormalPhrase, ...] = (
    _normal("The lungs are clear.", *_AIRSPACE),
    _normal("There is no focal consolidation.", Kind.CONSOLIDATION),
    _normal("The lungs are well expanded and clear.", *_AIRSPACE),
    _normal("No focal airspace opacity is seen.", Kind.CONSOLIDATION, Kind.OPACITY),
    _normal("There is no focal consolidation or pulmonary edema.", Kind.CONSOLIDATION, Kind.EDEMA),
    _normal("There is no evidence of pneumonia.", Kind.CONSOLIDATION, Kind.OPACITY),
    _normal("No pulmonary edema is seen.", Kind.EDEMA),
    _normal("No nodule or mass is seen.", Kind.NODULE),
    _normal("Both lungs are clear.", *_AIRSPACE),
    _normal("There is no pulmonary edema.", Kind.EDEMA),
    _normal("Lungs are clear bilaterally.", *_AIRSPACE),
)
NORMAL_PLEURA: tuple[NormalPhrase, ...] = (
    _normal("There is no pleural effusion or pneumothorax.", *_PLEURA),
    _normal("No pleural effusion or pneumothorax is seen.", *_PLEURA),
    _normal(
        "No focal consolidation, pleural effusion or pneumothorax.", *_PLEURA, Kind.CONSOLIDATION
    ),
    _normal("There is no pneumothorax.", Kind.PNEUMOTHORAX),
    _normal("There is no pleural effusion.", Kind.EFFUSION),
    _normal("There is no evidence of pneumothorax or effusion.", *_PLEURA),
    _normal("No pneumothorax is seen.", Kind.PNEUMOTHORAX),
    _normal("No effusion is seen.", Kind.EFFUSION),
    _normal("Negative for pneumothorax or effusion.", *_PLEURA),
)
NORMAL_BONES: tuple[NormalPhrase, ...] = (
    _normal("There is no acute bony abnormality.", Kind.FRACTURE),
    _normal("The bones are intact.", Kind.FRACTURE),
    _normal("No displaced rib fracture is seen.", Kind.FRACTURE),
    _normal("The visualized bones are unremarkable.", Kind.FRACTURE),
    _normal("There is no acute fracture.", Kind.FRACTURE),
)
# Statements on what the phantom never makes abnormal.
NORMAL_OTHER: tuple[NormalPhrase, ...] = (
    _normal("The trachea is midline."),
    _normal("The visualized upper abdomen is unremarkable."),
    _normal("The hila are normal."),
    _normal("The soft tissues are unremarkable."),
    _normal("There is no free air under the diaphragm."),
)
NORMAL_IMPRESSIONS: tuple[str, ...] = (
    "No acute cardiopulmonary abnormality.",
    "No acute disease.",
    "Normal chest.",
    "No acute findings.",
    "No acute cardiopulmonary process.",
)

# Reasons for a study; the second set leans weakly to the findings that it names.
INDICATIONS: tuple[str, ...] = (
    "Chest pain.",
    "Shortness of breath.",
    "Cough.",
    "Preoperative evaluation.",
    "Weakness.",
    "Dizziness.",
)
LEANING_INDICATIONS: dict[str, frozenset[Kind]] = {
    "Fever and cough.": frozenset({Kind.CONSOLIDATION, Kind.OPACITY}),
    "Fall.": frozenset({Kind.FRACTURE, Kind.PNEUMOTHORAX}),
    "Heart failure.": frozenset({Kind.CARDIOMEGALY, Kind.EDEMA, Kind.EFFUSION}),
    "Tube placement.": frozenset({Kind.ENDOTRACHEAL_TUBE, Kind.GASTRIC_TUBE}),
    "Line placement.": frozenset({Kind.CENTRAL_LINE}),
    "Weight loss.": frozenset({Kind.NODULE}),
}
TECHNIQUES: tuple[str, ...] = ("PA and lateral views of the chest.", "Two views of the chest.")
BEDSIDE_TECHNIQUES: tuple[str, ...] = ("Portable AP view of the chest.", "Single AP view.")
COMPARISONS: tuple[str, ...] = ("Prior chest radiograph.", "Prior study.", "Previous chest film.")
NO_COMPARISONS: tuple[str, ...] = ("None.", "None available.")
