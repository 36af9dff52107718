"""Invented reports in the form of MIMIC-CXR's: headers, indents, blanks, addenda, odd ones."""

import random
import textwrap
from collections.abc import Sequence

_FINDINGS = """
The lungs are clear without a focal opacity.
There is a small effusion on the left with neighbouring atelectasis.
No pneumothorax is seen on either side.
Heart size is at the upper limit of normal, as it was before.
The mediastinal contour has not changed since ___.
A tube ends well above the carina in a good position.
The tip of a central line projects over the lower superior vena cava.
Mild vascular engorgement suggests some volume overload.
Opacity at the right base may be atelectasis or, in the right setting, pneumonia.
Bony structures show no acute change.
Sternal wires are intact and aligned.
There is blunting of the right costophrenic angle.
Low lung volumes crowd the markings of both bases.
Aortic calcification is again noted.
A feeding tube runs below the diaphragm and out of view.
No free air lies under the diaphragm.
Interstitial markings are coarse, in keeping with known chronic disease.
A calcified granuloma in the left upper lobe is of no concern.
""".strip().splitlines()
_IMPRESSIONS = """
No acute process in the chest.
Small left effusion, larger than on the film of ___.
Lines and tubes in good position.
Possible early pneumonia at the right base; a follow-up film is advised.
Mild edema, better than before.
""".strip().splitlines()
_INDICATIONS = (
    "___ year old with cough and fever // pneumonia?",
    "Chest pain. Rule out pneumothorax.",
    "___F with shortness of breath",
    "Line placement",
)
_TECHNIQUES = ("Chest PA and lateral", "Portable AP view of the chest.", "Single frontal view")
_COMPARISONS = ("None.", "___", "Chest radiograph of ___", "Multiple priors, the latest of ___")
# Shares of forms, about as in the real set: two thirds have findings of their own.
_FORMS = ("both", "impression only", "one section", "no headers", "addendum", "two findings")
_SHARES = (66, 19, 5, 6, 2, 2)


def report_text(rng: random.Random) -> str:
    """Return one report, about 900 characters long."""
    form = rng.choices(_FORMS, _SHARES)[0]
    findings = " ".join(rng.sample(_FINDINGS, rng.randrange(4, 11)))
    impression = " ".join(rng.sample(_IMPRESSIONS, rng.randrange(1, 4)))
    sections = [
        ("EXAMINATION", "CHEST (PORTABLE AP)"),
        (rng.choice(("INDICATION", "HISTORY", "REASON FOR EXAM")), rng.choice(_INDICATIONS)),
        ("TECHNIQUE", rng.choice(_TECHNIQUES)),
        ("COMPARISON", rng.choice(_COMPARISONS)),
    ]
    if form == "no headers":
        sections = [("", rng.choice(_INDICATIONS)), ("", findings)]
    elif form == "one section":
        sections.append(("FINDINGS AND IMPRESSION", findings))
    elif form == "impression only":
        sections.append(("IMPRESSION", f"{impression} {findings}"))
    else:
        sections += [("FINDINGS", findings), ("IMPRESSION", impression)]
    if form == "two findings":
        sections.insert(-1, ("FINDINGS", " ".join(rng.sample(_FINDINGS, 3))))
    text = lay_out(sections)
    if form == "addendum":
        note = _section("ADDENDUM", "The findings were told to Dr. ___ by telephone.")
        text = f"{' ' * 33}FINAL ADDENDUM\n{note} {'_' * 78}\n{text}"
    return text


def lay_out(sections: Sequence[tuple[str, str]]) -> str:
    """Return (header, text) pairs as a report: title, indents, lines of 80 characters at most."""
    title = " " * 33 + "FINAL REPORT\n"
    return title + " \n".join(_section(header, text) for header, text in sections)


def _section(header: str, text: str) -> str:
    whole = f"{header}:  {text}" if header else text
    return "".join(f" {line}\n" for line in textwrap.wrap(whole, 79))
