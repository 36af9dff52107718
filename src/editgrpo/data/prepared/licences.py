"""What each data set is, who may have it, and what its licence asks, in our own words.

A summary, not advice: the agreement that a user accepted is the text that counts, and each entry
links to it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum


class Sharing(StrEnum):
    """Whether a prepared set may be given to others."""

    FORBIDDEN = "forbidden"
    OWN_JUDGEMENT = "own judgement"
    FREE = "free"


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetCard:
    """A data set as its card states it.

    Attributes:
        title: Its full name.
        source: Where it is had.
        licence: Name of licence or agreement.
        licence_id: Its identifier on the Hugging Face hub; "other" if it has none there.
        licence_link: Where its text stands; empty if there is none.
        terms: What it asks, a sentence each.
        citations: What a paper that uses it cites.
        sharing: Whether a prepared set may be given to others.
        models: What its pages ask of models that were trained on it; empty if they say nothing.
    """

    title: str
    source: str
    licence: str
    licence_id: str
    licence_link: str = ""
    terms: tuple[str, ...]
    citations: tuple[str, ...]
    sharing: Sharing
    models: str = ""


# Sources: PhysioNet's data use agreement 1.5.0; its notices of 18 April 2023 on online services and
# of 24 April 2024, "Guidelines for creating datasets and models from MIMIC".
_MIMIC_CXR = DatasetCard(
    title="MIMIC-CXR and MIMIC-CXR-JPG",
    source="https://physionet.org/content/mimic-cxr/",
    licence="PhysioNet Credentialed Health Data License 1.5.0",
    licence_id="other",
    licence_link="https://physionet.org/content/mimic-cxr/view-license/2.1.0/",
    terms=(
        "Everybody who opens this folder must be a credentialed PhysioNet user who has signed the "
        "data use agreement and holds a valid certificate of the CITI training in research with "
        "human subjects.",
        "Access is shared with nobody else, colleagues included: each of them applies for it.",
        "No part of it, reports, images or sentences, goes to services of third parties, such as "
        "APIs of language models; a judge model runs on machines of your own.",
        "It is used for lawful scientific research only, and kept where others cannot reach it.",
        "Nobody tries to identify a person or an institution; a passage that would allow it is "
        "reported to PHI-report@physionet.org.",
        "Code of published results is published too.",
    ),
    citations=(
        "Johnson AEW, Pollard TJ, Berkowitz SJ, et al. MIMIC-CXR, a de-identified publicly "
        "available database of chest radiographs with free-text reports. Sci Data 6, 317 (2019). "
        "https://doi.org/10.1038/s41597-019-0322-0",
        "Johnson A, Pollard T, Mark R, Berkowitz S, Horng S. MIMIC-CXR Database (version 2.1.0). "
        "PhysioNet (2024). https://doi.org/10.13026/4jqj-jw95",
        "Johnson A, Lungren M, Peng Y, Lu Z, Mark R, Berkowitz S, Horng S. MIMIC-CXR-JPG - chest "
        "radiographs with structured labels (version 2.1.0). PhysioNet (2024). "
        "https://doi.org/10.13026/jsn5-t979",
        "Johnson AEW, Pollard TJ, Greenbaum NR, et al. MIMIC-CXR-JPG, a large publicly available "
        "database of labeled chest radiographs. arXiv:1901.07042 (2019).",
        "Goldberger A, Amaral L, Glass L, et al. PhysioBank, PhysioToolkit, and PhysioNet. "
        "Circulation 101(23), e215-e220 (2000).",
    ),
    sharing=Sharing.FORBIDDEN,
    models=(
        "MIMIC's guidelines (https://mimic.mit.edu/docs/community/derived/) ask that a derived "
        "model be treated as containing sensitive information and, if it is shared, be shared on "
        "PhysioNet under the agreement of the data."
    ),
)

# Source: the agreement, version 1 of 7 April 2025, sections 2, 3, 9 and 12.
_REXGRADIENT = DatasetCard(
    title="ReXGradient-160K",
    source="https://huggingface.co/datasets/rajpurkarlab/ReXGradient-160K",
    licence="ReXGradient-160K Non-Commercial Data Access and Use Agreement",
    licence_id="other",
    licence_link="https://huggingface.co/datasets/rajpurkarlab/ReXGradient-160K/blob/main/LICENSE",
    terms=(
        "Non-commercial, non-clinical research only; never for diagnosis or treatment of people.",
        "Only those of your project who need it and are bound by the same terms may see it; it is "
        "not given or shown as a collection to third parties, services with an API included.",
        "No more of it is downloaded than the project needs.",
        "Nobody is identified or contacted, and no links are made that would allow it; identifying "
        "passages and leaks are reported to MAIDA_Support@hms.harvard.edu.",
        "Newer versions replace older ones, which are destroyed; so is everything when the "
        "agreement ends.",
        "Publications name the ReXGradient-160K Data Repository and Gradient Health as the source.",
    ),
    citations=(
        "Zhang X, Acosta JN, Miller J, Huang O, Rajpurkar P. ReXGradient-160K: A Large-Scale "
        "Publicly Available Dataset of Chest Radiographs with Free-text Reports. "
        "arXiv:2505.00228 (2025).",
    ),
    sharing=Sharing.FORBIDDEN,
)

_IU_XRAY = DatasetCard(
    title="IU X-Ray (Indiana University chest X-rays, Open-i)",
    source="https://openi.nlm.nih.gov/faq",
    licence="Creative Commons Attribution-NonCommercial-NoDerivatives 4.0",
    licence_id="cc-by-nc-nd-4.0",
    licence_link="https://creativecommons.org/licenses/by-nc-nd/4.0/",
    terms=(
        "Non-commercial use, with credit to the source.",
        "The originals may be passed on unchanged. A prepared set is changed (resized images, "
        "sections cut out of reports), so it stays with you.",
    ),
    citations=(
        "Demner-Fushman D, Kohli MD, Rosenman MB, et al. Preparing a collection of radiology "
        "examinations for distribution and retrieval. J Am Med Inform Assoc 23(2), 304-310 (2016). "
        "https://doi.org/10.1093/jamia/ocv080",
    ),
    sharing=Sharing.FORBIDDEN,
)

# Source: PadChest's notice to those who ask for access, and the research use agreement that BIMCV
# publishes with its collections.
_PADCHEST_GR = DatasetCard(
    title="PadChest-GR",
    source="https://bimcv.cipf.es/bimcv-projects/padchest-gr/",
    licence="BIMCV research use agreement of PadChest-GR",
    licence_id="other",
    licence_link="https://bimcv.cipf.es/bimcv-projects/padchest-gr/",
    terms=(
        "Given on request to those who registered and accepted the agreement, for research; other "
        "uses need the consent of BIMCV.",
        "Nothing of it is sold, distributed or published without written consent; others of your "
        "organisation accept the agreement themselves.",
        "Nobody tries to identify a person.",
        "Publications cite PadChest-GR and PadChest.",
    ),
    citations=(
        "Castro DC, Bustos A, Bannur S, et al. PadChest-GR: A Bilingual Chest X-ray Dataset for "
        "Grounded Radiology Report Generation. arXiv:2411.05085 (2024).",
        "Bustos A, Pertusa A, Salinas JM, de la Iglesia-Vayá M. PadChest: A large chest x-ray "
        "image dataset with multi-label annotated reports. Med Image Anal 66, 101797 (2020). "
        "https://doi.org/10.1016/j.media.2020.101797",
    ),
    sharing=Sharing.FORBIDDEN,
)

# Source: the Stanford University Dataset Research Use Agreement that the data set's page asks for.
_CHEXPERT_PLUS = DatasetCard(
    title="CheXpert Plus",
    source="https://aimi.stanford.edu/datasets/chexpert-plus",
    licence="Stanford University Dataset Research Use Agreement",
    licence_id="other",
    licence_link="https://stanfordaimi.azurewebsites.net/datasets/5158c524-d3ab-4e02-96e9-6ee9efc110a1",
    terms=(
        "Given to those who registered with Stanford AIMI and accepted the agreement, for "
        "non-commercial research.",
        "It is not passed on, whole or in part, nor published; others accept the agreement "
        "themselves.",
        "It is not used for diagnosis or treatment of people.",
        "Nobody tries to identify a person.",
        "Publications cite CheXpert Plus.",
    ),
    citations=(
        "Chambon P, Delbrouck JB, Sounack T, et al. CheXpert Plus: Augmenting a Large Chest X-ray "
        "Dataset with Text Radiology Reports, Patient Demographics and Additional Image Formats. "
        "arXiv:2405.19538 (2024).",
        "Irvin J, Rajpurkar P, Ko M, et al. CheXpert: A Large Chest Radiograph Dataset with "
        "Uncertainty Labels and Expert Comparison. AAAI 33(01), 590-597 (2019). "
        "arXiv:1901.07031.",
    ),
    sharing=Sharing.FORBIDDEN,
)

_FOLDER = DatasetCard(
    title="Studies of a table of your own",
    source="",
    licence="not known to editgrpo",
    licence_id="unknown",
    terms=(
        "What the source of the table and of its images asks holds for this folder too; write it "
        "here before anybody else opens the folder.",
    ),
    citations=(),
    sharing=Sharing.OWN_JUDGEMENT,
)

_HUGGINGFACE = replace(
    _FOLDER,
    title="Studies of a data set of the Hugging Face library",
    terms=(
        "What the data set's own card asks holds for this folder too; write it here before anybody "
        "else opens the folder.",
    ),
)

_PHANTOM = DatasetCard(
    title="Phantom studies",
    source="",
    licence="Apache License 2.0",
    licence_id="apache-2.0",
    licence_link="https://www.apache.org/licenses/LICENSE-2.0",
    terms=(
        "Drawn and written by a program: no person was examined. They show that software works, "
        "and say nothing about clinical quality.",
    ),
    citations=(),
    sharing=Sharing.FREE,
)

DATASETS: Mapping[str, DatasetCard] = {
    "mimic-cxr": _MIMIC_CXR,
    "rexgradient": _REXGRADIENT,
    "iu-xray": _IU_XRAY,
    "padchest-gr": _PADCHEST_GR,
    "chexpert-plus": _CHEXPERT_PLUS,
    "folder": _FOLDER,
    "huggingface": _HUGGINGFACE,
    "phantom": _PHANTOM,
}


def card_of(name: object) -> DatasetCard:
    """Return the card of a data set; one that nobody knows counts as a user's own."""
    return DATASETS.get(str(name), DATASETS["folder"])
