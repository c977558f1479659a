"""Stages: steps that turn partitions of one table into partitions of another."""
