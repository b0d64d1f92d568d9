"""Tables of CJJ 61-2017: whole, without doubles, and their codes say what they are built of."""

from twin import norms


def test_codes_are_built_as_annex_f_says() -> None:
    for code in norms.codes().values():
        assert len(code.code) == 8
        if code.geometry:
            assert code.code[4] == {"line": "1", "point": "2", "area": "3"}[code.geometry]
        if code.kind:
            assert code.code[5] == {"特征": "1", "附属物": "2"}[code.kind]


def test_codes_of_points_name_a_sub_class_of_annex_b() -> None:
    known = {(row.class_code, row.code) for row in norms.classes()}
    named = {tuple(code.pipe_class[:5].split("/")) for code in norms.codes().values() if code.kind}
    assert named <= known


def test_every_code_is_there_once() -> None:
    pairs = [(row.class_code, row.code) for row in norms.classes()]
    assert len(set(pairs)) == len(pairs) == 37
    assert len(norms.materials()) == len(set(norms.materials().values())) == 15
    assert len(norms.laying()) == len(set(norms.laying().values())) == 13
    assert list(norms.status()) == ["0", "1", "2", "3"]
