"""IEMOCAP, emotion recognition: four classes in five sessions, of two speakers each, which are the folds.

Layout: `Session{1..5}/dialog/EmoEvaluation/{dialog}.txt` with lines `[start - end]<TAB>turn<TAB>emotion<TAB>[v, a, d]`
and `Session{1..5}/sentences/wav/{dialog}/{turn}.wav`.

The classes are those of SUPERB: neutral, happy, angry, sad. Excitement (`exc`) counts as happiness; turns of other
emotions, and those on which the annotators did not agree (`xxx`), are left out and reported.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..manifest import ManifestError
from ..preparation.plan import Plan, PlannedClip, Problem
from ..preparation.splitting import cross_validation
from .corpus import IEMOCAP
from .tables import official_table, read_lines, require_layout, unpacked

CLASS_OF = {"neu": "neu", "hap": "hap", "exc": "hap", "ang": "ang", "sad": "sad"}
LEFT_OUT = ("fru", "sur", "fea", "dis", "oth", "xxx")

_TURN = re.compile(
    r"\[\d+(?:\.\d+)? - \d+(?:\.\d+)?\]\t(?P<turn>(?P<dialog>\S+)_(?P<who>[FM])\w+)\t(?P<emotion>\w+)\t\[.*\]\s*"
)


def plan_iemocap(root: Path) -> Plan:
    """Reads the layout; in `fold{k}` session k is for evaluation and the others for training.

    Raises:
        ManifestError: another layout, or a line of another form.
    """
    assert IEMOCAP.num_folds is not None
    sessions = [str(number) for number in range(1, IEMOCAP.num_folds + 1)]
    folders = tuple(f"Session{session}/dialog/EmoEvaluation" for session in sessions)
    root = unpacked(root, "IEMOCAP_full_release", folders)
    require_layout(root, folders, IEMOCAP.title)
    plan = Plan(root, {}, official_table(IEMOCAP), title=IEMOCAP.title, published=IEMOCAP.num_clips)
    parts = {session: _read_session(plan, session) for session in sessions}
    plan.splits = cross_validation(parts)
    return plan


def _read_session(plan: Plan, session: str) -> list[PlannedClip]:
    """The turns of a session that belong to a class; the others become problems of the plan."""
    folder = plan.root / f"Session{session}" / "dialog" / "EmoEvaluation"
    files = sorted(folder.glob("[!.]*.txt"))  # copies made on a Mac have a `._` file beside each
    if not files:
        raise ManifestError(f"{folder}: no evaluation; expected a text file for each dialog")
    clips = []
    for file in files:
        for where, line in read_lines(file):
            if not line.startswith("["):
                continue  # the heading, and what each annotator said of the turn above
            match = _TURN.fullmatch(line)
            if match is None or match["dialog"] != file.stem:
                expected = f"[start - end]<TAB>{file.stem}_F000<TAB>emotion<TAB>[v, a, d]"
                raise ManifestError(f"{where}: expected `{expected}`, got {line!r}")
            row = f"Session{session}/sentences/wav/{file.stem}/{match['turn']}.wav"
            emotion = match["emotion"]
            if emotion in CLASS_OF:
                columns = {"session": session, "dialog": file.stem, "speaker": f"{session}{match['who']}"}
                clips.append(PlannedClip(row, (CLASS_OF[emotion],), columns=columns))
            elif emotion in LEFT_OUT:
                plan.problems.append(Problem("other emotion", row, f"{emotion}; left out"))
            else:
                known = ", ".join([*CLASS_OF, *LEFT_OUT])
                raise ManifestError(f"{where}: {emotion!r} is no emotion of {IEMOCAP.title}, expected one of {known}")
    return clips
