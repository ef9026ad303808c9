"""The wordpiece vocabulary that both encoders share, trained on the pretraining text of all languages."""

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import BertTokenizer

from tools.microcosm.pretraining_text import pretraining_statements, sentences

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARY_SIZE = 6_000
N_STATEMENTS = 12_000


def train_tokenizer(languages: tuple[str, ...], seed: int) -> BertTokenizer:
    """Train a cased BERT tokenizer whose pieces come from the same amount of text in each language."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    statements = pretraining_statements(N_STATEMENTS, seed)
    text = [sentence for language in languages for sentence in sentences(statements, language)]
    # The trainer numbers pieces inside words in the order of its hash map, and breaks ties by number. Naming them
    # beforehand gives them the same numbers each time.
    inside = sorted({f"##{character}" for sentence in text for character in sentence if not character.isspace()})
    trainer = trainers.WordPieceTrainer(
        vocab_size=VOCABULARY_SIZE, special_tokens=[*SPECIAL, *inside], min_frequency=2, show_progress=False
    )
    tokenizer.train_from_iterator(text, trainer)
    return BertTokenizer(vocab=tokenizer.get_vocab(), do_lower_case=False, strip_accents=False)
