"""Which passages are worth asking about, by a classifier."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from task_models import saved

from mnemodex.indexers.models.tokenizers import tokenizer
from mnemodex.pipelines.qa.generators.base import Passage
from mnemodex.pipelines.qa.generators.classifier import PassageClassifier
from mnemodex.schemas.errors import ModelError
from mnemodex.schemas.pair_sections import PassageChoice

pytestmark = pytest.mark.usefixtures("one_thread")

WORK = SimpleNamespace(cpus=1)
PASSAGES = [
    Passage("Dunmarrow", "A port at the mouth of the River Aske."),
    Passage("", "Moss."),
    Passage("Ships", "The keeper saw a ship. " * 30),
    Passage("", ""),
]


def test_scores_are_log_probabilities_of_the_second_class_whatever_else_is_read(tmp_path):
    from transformers import AutoModelForSequenceClassification

    name = saved("SequenceClassification", tmp_path)
    classifier = PassageClassifier(PassageChoice(model=name), WORK)
    scores = classifier.score(PASSAGES)
    assert scores.dtype == np.float32 and (scores < 0).all() and classifier.cut == 1
    encoding = tokenizer(name).encode(PASSAGES[0].title, PASSAGES[0].text)
    loaded = AutoModelForSequenceClassification.from_pretrained(name).eval()
    with torch.inference_mode():
        logits = loaded(torch.tensor([encoding.ids]), token_type_ids=torch.tensor([encoding.type_ids])).logits
    assert scores[0] == pytest.approx(float(logits.log_softmax(1)[0, 1]), abs=1e-5)
    for passage, score in zip(PASSAGES, scores, strict=True):
        assert classifier.score([passage])[0] == pytest.approx(score, abs=1e-4)


@pytest.mark.parametrize("classes", [1, 3])
def test_another_number_of_classes_is_refused(tmp_path, classes):
    name = saved("SequenceClassification", tmp_path, num_labels=classes)
    with pytest.raises(ModelError, match=f"has {classes} classes; passages are chosen by one with two"):
        PassageClassifier(PassageChoice(model=name), WORK)
