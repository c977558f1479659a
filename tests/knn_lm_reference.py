"""kNN-LM and RetoMaton spelt out: one text and one place at a time, in doubles, and the model again each time."""

from __future__ import annotations

import math

import numpy as np
import torch

from mnemodex.indexers.lm.capture import KeyCapture
from mnemodex.retrievers.readers.knn_lm import Buckets


class Reference:
    """What a model says next after a text, with a datastore mixed in."""

    def __init__(self, model, store, mixing):
        self.model, self.store, self.mixing = model, store, mixing
        self.temperature = mixing.temperature or store.info.scale
        self.row_of = {int(number): row for row, number in enumerate(store.ids)}
        self.searches = self.saved = self.gated = 0

    def walk(self, text, start=0):
        """Log-probabilities of what follows each token of a text from `start` on: shape (places, vocabulary)."""
        with torch.no_grad(), KeyCapture(self.model, self.store.info.key) as capture:
            logits = self.model(input_ids=torch.tensor([list(map(int, text))]), use_cache=False).logits[0]
        keys = capture.last[0].float().numpy()
        if len(keys) < len(logits):
            raise AssertionError("keys of all places are needed")
        before, rows = [], []
        for place in range(start, len(text)):
            log = torch.log_softmax(logits[place].double(), dim=-1).numpy()
            before = self.neighbours(log, keys[place], int(text[place]), before)
            rows.append(self.mixed(log, before))
        return np.stack(rows)

    def neighbours(self, log, key, came, before):
        """Triples of distance, token and id."""
        mixing = self.mixing
        if mixing.gate is not None and -(np.exp(log) * log).sum() < mixing.gate:
            self.gated += 1
            return []
        if mixing.pointers is not None:
            successors = [number + 1 for _, token, number in before if token == came and number + 1 in self.row_of]
            if len(successors) >= mixing.pointers:
                self.saved += 1
                return sorted(self.entries(key, successors))
        self.searches += 1
        every = self.entries(key, self.store.ids)
        if self.store.rounded is None:
            return sorted(every)[: mixing.k]
        estimates = sorted((self.estimate(distance), number, token) for distance, token, number in every)[: mixing.k]
        if mixing.rescore:
            return sorted(self.entries(key, [number for _, number, _ in estimates]))
        return [(estimate, token, number) for estimate, number, token in estimates]

    def entries(self, key, numbers):
        rows = [self.row_of[int(number)] for number in numbers]
        distances = ((key.astype(np.float64) - self.store.keys[rows]) ** 2).sum(axis=1)
        return [
            (float(np.float32(distance)), int(self.store.tokens[row]), int(number))
            for distance, row, number in zip(distances, rows, numbers, strict=True)
        ]

    def estimate(self, distance):
        return float(np.float32(np.round(distance / self.store.rounded) * self.store.rounded))

    def mixed(self, log, neighbours):
        if not neighbours:
            return log
        nearest = neighbours[0][0]
        weight = self.mixing.weight
        if isinstance(weight, Buckets):
            weight = weight.weights[sum(nearest >= edge for edge in weight.edges)]
        parts = {}
        for distance, token, _ in neighbours:
            parts[token] = parts.get(token, 0.0) + math.exp(-(distance - nearest) / self.temperature)
        total = sum(parts.values())
        mixture = (1 - weight) * np.exp(log)
        for token, part in parts.items():
            mixture[token] += weight * part / total
        return np.log(mixture)

    def greedy(self, text, steps):
        text = list(map(int, text))
        start = len(text) - 1
        for _ in range(steps):
            text.append(int(self.walk(text, start)[-1].argmax()))
        return text

    def sampled(self, text, steps, seed):
        text = list(map(int, text))
        start = len(text) - 1
        torch.manual_seed(seed)
        for _ in range(steps):
            log = torch.from_numpy(self.walk(text, start)[-1]).float()
            text.append(int(torch.multinomial(torch.softmax(log[None], dim=-1), 1)))
        return text

    def beams(self, text, steps, width):
        """The best text of a beam search without an end token."""
        start = len(text) - 1
        kept = [(0.0, list(map(int, text)))]
        for _ in range(steps):
            longer = [
                (score + log, [*beam, token])
                for score, beam in kept
                for token, log in enumerate(self.walk(beam, start)[-1])
            ]
            kept = sorted(longer, reverse=True)[:width]
        return kept[0][1]
