"""Pods from YAML files, run to their end.

A manifest is read (`api`), planned (`plan`: pure, and so tested by golden files) and run (`run`: files, programs and a
runtime). Others use the three through what each exports.
"""
