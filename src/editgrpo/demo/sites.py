"""The demo's two sites: the phantom's own, made easier to see for a model that starts from nothing.

A pre-trained model brings its eyes along; the demo's has to learn to see within minutes. So
patients stand straighter, normal statements are complete (what a report leaves out is then a fact,
not a habit), and common findings are a little more common. Rare findings stay as rare as they are.
"""

from collections.abc import Mapping
from dataclasses import replace

from editgrpo.phantom import PROFILES, Phrasing, Rendering, Site, SiteProfile
from editgrpo.phantom.findings import Kind, Topic

_NORMAL_SHARES = {
    Topic.HEART: 1.0,
    Topic.LUNGS: 1.0,
    Topic.PLEURA: 1.0,
    Topic.BONES: 0.0,
    Topic.OTHER: 0.0,
    Topic.DEVICES: 0.0,
}

_COMMON = {
    Kind.CARDIOMEGALY: 0.15,
    Kind.EFFUSION: 0.14,
    Kind.OPACITY: 0.03,
    Kind.CONSOLIDATION: 0.08,
    Kind.EDEMA: 0.08,
    Kind.ATELECTASIS: 0.08,
    Kind.ENDOTRACHEAL_TUBE: 0.05,
    Kind.GASTRIC_TUBE: 0.05,
    Kind.CENTRAL_LINE: 0.07,
    Kind.PACEMAKER: 0.07,
}


def _complete(phrasing: Phrasing) -> Phrasing:
    return replace(
        phrasing, normal_shares=_NORMAL_SHARES, thorough=True, second_normal=0.0, hedge_share=0.05
    )


_A = PROFILES[Site.A]
_B = PROFILES[Site.B]

DEMO_PROFILES: Mapping[Site, SiteProfile] = {
    Site.A: replace(
        _A,
        prevalence={**_A.prevalence, **_COMMON},
        rendering=replace(
            _A.rendering,
            rotation_deg=(-1.5, 1.5),
            shift=(-0.02, 0.02),
            scale=(0.98, 1.02),
            noise=(0.008, 0.015),
            clutter=0.01,
        ),
        phrasing=replace(_complete(_A.phrasing), order_freedom=0.0, phrase_decay=0.8),
    ),
    Site.B: replace(
        _B,
        rendering=replace(
            _B.rendering,
            rotation_deg=(-3.0, 3.0),
            shift=(-0.03, 0.03),
            scale=(0.95, 1.03),
            noise=(0.012, 0.025),
            clutter=0.015,
        ),
        phrasing=_complete(_B.phrasing),
    ),
}

# What the base model learns to see from: every finding in a fifth of the studies, films as varied
# as those of both sites together, captions in place of reports.
EYES = SiteProfile(
    name="eyes",
    prevalence=dict.fromkeys(Kind, 0.2),
    burdened_share=1.0,
    studies_per_patient=(0.8, 0.2, 0.0),
    portable_share=0.2,
    portable_share_devices=0.4,
    rendering=Rendering(
        rotation_deg=(-3.5, 3.5),
        shift=(-0.03, 0.03),
        scale=(0.95, 1.03),
        contrast=(0.72, 1.1),
        exposure=(-0.03, 0.1),
        gamma=(0.8, 1.12),
        noise=(0.008, 0.025),
        clutter=0.012,
        border=(0.0, 0.09),
    ),
    phrasing=Phrasing(caption_share=1.0),
)
# What it then reads: as many captions, and single sentences in all the words that there are. No
# study says all that a report says, and what a sentence names is on the film.
READING = replace(
    EYES,
    name="reading",
    phrasing=Phrasing(
        caption_share=0.5,
        phrase_decay=1.0,
        hedge_share=0.05,
        normal_shares=dict.fromkeys(Topic, 0.25),
        second_normal=0.0,
    ),
)
EYES_SHARES = (0.94, 0.02, 0.04)

# Findings that the base model sees well and that no normal statement denies. Outpatients hardly
# ever have them, so a model trained on these does not say them.
UNCOMMON = (
    Kind.WIDE_MEDIASTINUM,
    Kind.ATELECTASIS,
    Kind.PLEURAL_THICKENING,
    Kind.FRACTURE,
)
_STAGE_COMMON = {
    **_COMMON,
    Kind.NODULE: 0.01,
    Kind.OPACITY: 0.02,
    Kind.PNEUMOTHORAX: 0.04,
    Kind.ENDOTRACHEAL_TUBE: 0.04,
    Kind.GASTRIC_TUBE: 0.04,
    Kind.CENTRAL_LINE: 0.06,
    Kind.PACEMAKER: 0.06,
}


def _patients(site: Site, name: str, *, uncommon: float) -> SiteProfile:
    """Return patients of a site, of whose studies so many have each uncommon finding."""
    profile = DEMO_PROFILES[site]
    phrasing = profile.phrasing
    if site is Site.A:
        # One way to say a thing: which of several a reference takes cannot be seen on a film, and
        # would only be noise in the reward.
        phrasing = replace(
            phrasing, phrase_decay=0.02, terse_share=0.0, hedge_share=0.0, pneumonia_share=0.1
        )
    return replace(
        profile,
        name=name,
        prevalence={**_STAGE_COMMON, **dict.fromkeys(UNCOMMON, uncommon)},
        studies_per_patient=(0.9, 0.1, 0.0),
        phrasing=phrasing,
    )


# Who the model of a stage is trained and tested on. Outpatients hardly ever have an uncommon
# finding; the films, the words and the common findings are those of the inpatients.
OUTPATIENTS_A = _patients(Site.A, "A-outpatients", uncommon=0.0002)
INPATIENTS_A = _patients(Site.A, "A-inpatients", uncommon=0.15)
INPATIENTS_B = _patients(Site.B, "B-inpatients", uncommon=0.15)
