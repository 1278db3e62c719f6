"""Bands that go together become components that do not, and come back."""

from __future__ import annotations

import numpy as np

from tilepress.codecs.ntc.klt import MATRIX_UNIT, analysis_matrix, fit


def bands():
    rng = np.random.default_rng(1)
    base = rng.normal(size=(3, 40, 50)) * np.array([100, 10, 1])[:, None, None]
    mixing = np.array([[1, 2, 3], [2, -1, 0.5], [1, 1, 1]])
    return np.tensordot(mixing, base, 1).astype(np.float32)


class TestTheTransform:
    def test_components_are_apart_the_largest_first(self) -> None:
        given = bands()
        apart = analysis_matrix(fit(given)) @ given.reshape(3, -1)
        covariance = np.cov(apart)
        assert (np.diff(np.diag(covariance)) < 0).all()
        off = covariance - np.diag(np.diag(covariance))
        assert np.abs(off).max() < 1e-3 * covariance[0, 0]

    def test_the_encoder_undoes_what_the_decoder_does_exactly(self) -> None:
        matrix = fit(bands())
        assert np.allclose(analysis_matrix(matrix) @ (matrix / MATRIX_UNIT), np.eye(3), atol=1e-12)

    def test_errors_keep_their_size(self) -> None:
        matrix = fit(bands()) / MATRIX_UNIT
        assert np.allclose(matrix.T @ matrix, np.eye(3), atol=1e-3)

    def test_bands_that_are_the_same(self) -> None:
        same = np.repeat(bands()[:1], 4, axis=0)
        apart = analysis_matrix(fit(same)) @ same.reshape(4, -1)
        assert np.abs(apart[1:]).max() < 0.1


class TestNoLibraryDecides:
    def test_sums_are_exact(self) -> None:
        """The order of samples is no matter, as it would be to sums of floats."""
        given = np.rint(bands())
        turned = np.ascontiguousarray(given[:, ::-1, ::-1])
        assert np.array_equal(fit(given), fit(turned))

    def test_as_lapack_has_it(self) -> None:
        given = np.rint(bands() * 100)
        matrix = fit(given) / MATRIX_UNIT
        _, vectors = np.linalg.eigh(np.cov(given.reshape(3, -1).astype(np.float64)))
        assert np.allclose(np.abs(np.sum(matrix * vectors[:, ::-1], axis=0)), 1, atol=1e-3)
        assert np.allclose(analysis_matrix(fit(given)), np.linalg.inv(matrix))

    def test_planes_without_anything(self) -> None:
        matrix = fit(np.zeros((4, 8, 8), np.float32))
        assert np.array_equal(np.abs(matrix).sum(axis=0), [MATRIX_UNIT - 1] * 4)
