from edgellm.bundled import bundled_calibration_text, bundled_checkpoint


def test_the_bundled_checkpoint_is_complete() -> None:
    names = {file.name for file in bundled_checkpoint().iterdir()}
    assert names >= {"config.json", "model.safetensors", "tokenizer.model", "tokenizer_config.json"}


def test_the_bundled_calibration_text_speaks_several_scripts_and_code() -> None:
    text = bundled_calibration_text()
    assert 1 << 17 <= len(text.encode()) < 1 << 20
    assert all(word in text for word in ("def ", "niemand", "рекой", "時計", "年头", "السوق"))


def test_every_quarter_of_the_bundled_calibration_text_has_prose_dialogue_and_code() -> None:
    text = bundled_calibration_text()
    step = len(text) // 4
    for part in (text[start : start + step] for start in range(0, 4 * step, step)):
        assert all(mark in part for mark in (" said ", "User:", "return "))


def test_no_paragraph_of_the_bundled_calibration_text_comes_twice() -> None:
    paragraphs = [part for part in bundled_calibration_text().split("\n\n") if len(part) > 60]
    assert len(paragraphs) == len(set(paragraphs))
