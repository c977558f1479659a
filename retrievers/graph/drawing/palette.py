"""The colours of pictures: for each name that on a light ground, and that on a dark one."""

from __future__ import annotations

# Hues that people who see fewer of them still tell apart (Okabe and Ito, 2008), with a contrast of 4.5 to texts on them
# and to the ground; shapes tell kinds apart too.
PALETTE = {
    "ink": ("#1f2933", "#e6eaef"),
    "quiet": ("#5f6b7a", "#a9b4c0"),
    "paper": ("#ffffff", "#12171d"),
    "question": ("#9b4872", "#e79bc0"),
    "entity": ("#0072b2", "#56b4e9"),
    "passage": ("#9a6200", "#f0b040"),
    "fact": ("#00805c", "#3cc79a"),
    "question-tint": ("#faeef4", "#33202b"),
    "entity-tint": ("#cfe5f3", "#173345"),
    "passage-tint": ("#fff7e6", "#2a2214"),
    "fact-tint": ("#e3f4ee", "#12332a"),
    "vector": ("#9aa5b1", "#5c6773"),
    "mention": ("#dcc59a", "#7d6a42"),
    "seed": ("#c77ba3", "#b06890"),
    "synonym": ("#3d9bd6", "#3d8ec2"),
}
LIGHT = {name: light for name, (light, _) in PALETTE.items()}


def dark_rules() -> str:
    """Return CSS that paints a picture's light colours dark, for a ground that is dark."""
    return "".join(
        f'svg [{what}="{light}"]{{{what}:{dark}}}' for light, dark in PALETTE.values() for what in ("fill", "stroke")
    )
