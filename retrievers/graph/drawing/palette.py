"""Colours that people who see fewer of them still tell apart (Okabe and Ito, 2008), and paler ones of the same hues.

Nothing is told by its colour alone: entities are discs, facts labels on arrows, passages cards, synonyms dashed.
"""

INK = "#1f2933"
QUIET = "#5f6b7a"
PAPER = "#ffffff"
ENTITY = "#0072b2"
ENTITY_TINT = "#cfe5f3"
FACT = "#00805c"
FACT_TINT = "#e3f4ee"
PASSAGE = "#d98c00"
PASSAGE_TINT = "#fff7e6"
QUESTION = "#a8557f"
QUESTION_TINT = "#faeef4"
MENTION = "#dcc59a"
SYNONYM = "#3d9bd6"
SEED = "#c77ba3"
