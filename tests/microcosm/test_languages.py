"""Language files: faults are reported, sentences differ, and hand-checked sentences come out as written."""

import copy
import random
import tomllib

import pytest

from xeval.data.microcosm import lexicon, world
from xeval.data.microcosm.realise import realise
from xeval.data.microcosm.world import Fact

DOG_NIGHT = (Fact("at", "dog", place="garden", time="night"),)
DOUBLE = (Fact("use", "girl", "buy", "apple", place="market"), Fact("is", "cow", "big", negated=True))
COUNT = (Fact("count", "bird", "two", place="forest"),)

HAND_CHECKED = {
    "en": (
        "The dog is in the garden at night.",
        "The girl buys an apple at the market and the cow is not big.",
        "There are two birds in the forest.",
    ),
    "de": (
        "Der Hund ist in der Nacht im Garten.",
        "Das Mädchen kauft auf dem Markt einen Apfel und die Kuh ist nicht groß.",
        "Im Wald sind zwei Vögel.",
    ),
    "es": (
        "El perro está en el jardín por la noche.",
        "La chica compra una manzana en el mercado y la vaca no es grande.",
        "Hay dos aves en el bosque.",
    ),
    "zh": ("狗夜里在花园里。", "女孩在市场上买了一个苹果，牛不大。", "森林里有两只鸟。"),
    "ar": ("الكلب في الحديقة في الليل.", "البنت تشتري تفاحة في السوق والبقرة ليست كبيرة.", "في الغابة طائران."),
}

# Sentences that are tricky in their language: one of each pattern and polarity, and one of two facts.
TREACHEROUS = {
    "fr": {
        "Le hibou est à l'école à midi.": (Fact("at", "owl", place="school", time="noon"),),
        "La tante n'est pas au musée le lundi.": (Fact("at", "aunt", place="museum", time="monday", negated=True),),
        "La mère court dans l'hôpital en été.": (Fact("act", "mother", "run", place="hospital", time="summer"),),
        "La fille n'est pas assise au marché le vendredi.": (
            Fact("act", "girl", "sit", place="market", time="friday", negated=True),
        ),
        "L'élève envoie une flûte depuis la gare le soir.": (
            Fact("use", "pupil", "send", "flute", place="station", time="evening"),
        ),
        "L'armoire est vieille.": (Fact("is", "wardrobe", "worn"),),
        "La grand-mère n'est pas travailleuse.": (Fact("is", "grandmother", "hard_working", negated=True),),
        "Il y a huit chevaux à l'hôtel.": (Fact("count", "horse", "eight", place="hotel"),),
        "Le juge vend une pomme dans l'école et l'abeille n'est pas légère.": (
            Fact("use", "judge", "sell", "apple", place="school"),
            Fact("is", "bee", "light", negated=True),
        ),
    },
    "el": {
        "Το τσεκούρι είναι στη βιβλιοθήκη τη Δευτέρα.": (Fact("at", "axe", place="library", time="monday"),),
        "Η αδελφή δεν είναι στον σταθμό τον χειμώνα.": (
            Fact("at", "sister", place="station", time="winter", negated=True),
        ),
        "Η θεία είναι όρθια στον κήπο την Παρασκευή.": (Fact("act", "aunt", "stand", place="garden", time="friday"),),
        "Το αγόρι δεν είναι σιωπηλό στο μουσείο τη νύχτα.": (
            Fact("act", "boy", "be_silent", place="museum", time="night", negated=True),
        ),
        "Ο παππούς δείχνει έναν σκύλο μέσα στο μουσείο το βράδυ.": (
            Fact("use", "grandfather", "show", "dog", place="museum", time="evening"),
        ),
        "Το παιδί είναι τεμπέλικο.": (Fact("is", "child", "lazy"),),
        "Η μητέρα δεν είναι υγιής.": (Fact("is", "mother", "healthy", negated=True),),
        "Υπάρχουν τέσσερις ελέφαντες στο δάσος.": (Fact("count", "elephant", "four", place="forest"),),
        "Ο αγρότης στέλνει ένα βιολί από τη βιβλιοθήκη και η κατσίκα δεν είναι βαριά.": (
            Fact("use", "farmer", "send", "violin", place="library"),
            Fact("is", "goat", "heavy", negated=True),
        ),
    },
    "bg": {
        "Конят е на гарата в петък.": (Fact("at", "horse", place="station", time="friday"),),
        "Чичото не е на пазара през зимата.": (Fact("at", "uncle", place="market", time="winter", negated=True),),
        "Бабата стои права в парка сутринта.": (Fact("act", "grandmother", "stand", place="park", time="morning"),),
        "Момчето не се смее в училището в понеделник.": (
            Fact("act", "boy", "laugh", place="school", time="monday", negated=True),
        ),
        "Съдията изпраща барабан от хотела вечерта.": (
            Fact("use", "judge", "send", "drum", place="hotel", time="evening"),
        ),
        "Бащата е тъжен.": (Fact("is", "father", "sad"),),
        "Леглото не е тежко.": (Fact("is", "bed", "heavy", negated=True),),
        "В гората има два папагала.": (Fact("count", "parrot", "two", place="forest"),),
        "Преподавателят купува ябълка на пазара, и кравата не е голяма.": (
            Fact("use", "instructor", "buy", "apple", place="market"),
            Fact("is", "cow", "big", negated=True),
        ),
    },
    "ru": {
        "В полдень лев находится в лесу.": (Fact("at", "lion", place="forest", time="noon"),),
        "В пятницу дедушки нет на вокзале.": (Fact("at", "grandfather", place="station", time="friday", negated=True),),
        "Утром девочка ходит по парку.": (Fact("act", "girl", "walk", place="park", time="morning"),),
        "Летом судья не работает в музее.": (
            Fact("act", "judge", "work", place="museum", time="summer", negated=True),
        ),
        "Зимой преподаватель покупает льва на рынке.": (
            Fact("use", "instructor", "buy", "lion", place="market", time="winter"),
        ),
        "Мать больна.": (Fact("is", "mother", "sick"),),
        "Кровать не грязная.": (Fact("is", "bed", "dirty", negated=True),),
        "В деревне два насекомых.": (Fact("count", "insect", "two", place="village"),),
        "Повар отправляет грушу с рынка, и в саду пять пчёл.": (
            Fact("use", "cook", "send", "pear", place="market"),
            Fact("count", "bee", "five", place="garden"),
        ),
    },
    "hi": {
        "दादी गर्मियों में अस्पताल में हैं।": (Fact("at", "grandmother", place="hospital", time="summer"),),
        "कार शुक्रवार को स्टेशन पर नहीं है।": (Fact("at", "car", place="station", time="friday", negated=True),),
        "चाची शाम को बगीचे में आराम करती हैं।": (Fact("act", "aunt", "rest", place="garden", time="evening"),),
        "माँ सुबह पार्क में नहीं दौड़तीं।": (Fact("act", "mother", "run", place="park", time="morning", negated=True),),
        "लड़की रात को रसोई में एक कुत्ते को छिपाती है।": (Fact("use", "girl", "hide", "dog", place="kitchen", time="night"),),
        "बाँसुरी पुरानी है।": (Fact("is", "flute", "worn"),),
        "पिता आलसी नहीं हैं।": (Fact("is", "father", "lazy", negated=True),),
        "बाज़ार में चार मक्खियाँ हैं।": (Fact("count", "fly", "four", place="market"),),
        "किसान बाज़ार में एक कुर्सी बेचता है और गाय बड़ी नहीं है।": (
            Fact("use", "farmer", "sell", "chair", place="market"),
            Fact("is", "cow", "big", negated=True),
        ),
    },
    "ur": {
        "والدہ سردیوں میں ہسپتال میں ہیں۔": (Fact("at", "mother", place="hospital", time="winter"),),
        "بس جمعے کو اسٹیشن پر نہیں ہے۔": (Fact("at", "bus", place="station", time="friday", negated=True),),
        "چچا صبح باغ میں کھڑے رہتے ہیں۔": (Fact("act", "uncle", "stand", place="garden", time="morning"),),
        "خالہ شام کو لائبریری میں کام نہیں کرتیں۔": (
            Fact("act", "aunt", "work", place="library", time="evening", negated=True),
        ),
        "لڑکا رات کو باورچی خانے میں ایک پرندے کو چھپاتا ہے۔": (
            Fact("use", "boy", "hide", "bird", place="kitchen", time="night"),
        ),
        "کرسی پرانی ہے۔": (Fact("is", "chair", "worn"),),
        "دادی بیمار نہیں ہیں۔": (Fact("is", "grandmother", "sick", negated=True),),
        "جنگل میں تین گھوڑے ہیں۔": (Fact("count", "horse", "three", place="forest"),),
        "کسان بازار میں ایک کتا خریدتا ہے اور الماری مہنگی نہیں ہے۔": (
            Fact("use", "farmer", "buy", "dog", place="market"),
            Fact("is", "wardrobe", "expensive", negated=True),
        ),
    },
    "tr": {
        "İnek kışın köyde.": (Fact("at", "cow", place="village", time="winter"),),
        "Arı öğlen mutfakta değil.": (Fact("at", "bee", place="kitchen", time="noon", negated=True),),
        "Dede pazartesi günü ormanda yürüyor.": (Fact("act", "grandfather", "walk", place="forest", time="monday"),),
        "Hoca akşam parkta gülmüyor.": (
            Fact("act", "instructor", "laugh", place="park", time="evening", negated=True),
        ),
        "Ağabey sabah bahçede bir otobüs bozuyor.": (
            Fact("use", "brother", "break", "bus", place="garden", time="morning"),
        ),
        "Armut ucuz.": (Fact("is", "pear", "cheap"),),
        "Çekiç ağır değil.": (Fact("is", "hammer", "heavy", negated=True),),
        "Müzede dört kuş var.": (Fact("count", "bird", "four", place="museum"),),
        "Asker hastanede bulunuyor ve otelde iki ördek var.": (
            Fact("at", "soldier", place="hospital"),
            Fact("count", "duck", "two", place="hotel"),
        ),
    },
    "sw": {
        "Kiti kiko jikoni asubuhi.": (Fact("at", "chair", place="kitchen", time="morning"),),
        "Shoka haliko sokoni usiku.": (Fact("at", "axe", place="market", time="night", negated=True),),
        "Mpishi anafanya kazi hotelini jioni.": (Fact("act", "cook", "work", place="hotel", time="evening"),),
        "Bibi hajaketi bustanini siku ya Jumatatu.": (
            Fact("act", "grandmother", "sit", place="garden", time="monday", negated=True),
        ),
        "Mkulima anauza ng'ombe sokoni adhuhuri.": (Fact("use", "farmer", "sell", "cow", place="market", time="noon"),),
        "Mjomba anatuma ngoma kutoka sokoni.": (Fact("use", "uncle", "send", "drum", place="market"),),
        "Msichana anakimbia ndani ya shule.": (Fact("act", "girl", "run", place="school"),),
        "Kipepeo ni mdogo.": (Fact("is", "butterfly", "small"),),
        "Gari si jipya.": (Fact("is", "car", "new", negated=True),),
        "Kuna vipepeo wawili msituni.": (Fact("count", "butterfly", "two", place="forest"),),
        "Mvulana anaficha kitunguu jikoni, na kitanda si chepesi.": (
            Fact("use", "boy", "hide", "onion", place="kitchen"),
            Fact("is", "bed", "light", negated=True),
        ),
    },
    "th": {
        "แมวอยู่ในสวนตอนกลางคืน": (Fact("at", "cat", place="garden", time="night"),),
        "รถเมล์ไม่ได้อยู่ที่สถานีรถไฟในวันศุกร์": (Fact("at", "bus", place="station", time="friday", negated=True),),
        "เด็กผู้ชายวิ่งอยู่ในสวนสาธารณะตอนเช้า": (Fact("act", "boy", "run", place="park", time="morning"),),
        "ทหารไม่ได้ยืนที่ตลาดตอนเที่ยง": (Fact("act", "soldier", "stand", place="market", time="noon", negated=True),),
        "ครูทำขลุ่ยเลาหนึ่งหายในห้องสมุดในวันจันทร์": (Fact("use", "teacher", "lose", "flute", place="library", time="monday"),),
        "ช้างมีน้ำหนักมาก": (Fact("is", "elephant", "heavy"),),
        "ป้าสุขภาพไม่ดี": (Fact("is", "aunt", "healthy", negated=True),),
        "มีนกฮูกสามตัวอยู่ในป่า": (Fact("count", "owl", "three", place="forest"),),
        "ชาวนาขายวัวตัวหนึ่งที่ตลาด และโต๊ะไม่ใช่ของใหม่": (
            Fact("use", "farmer", "sell", "cow", place="market"),
            Fact("is", "table", "new", negated=True),
        ),
    },
    "vi": {
        "Con mèo ở trong vườn vào ban đêm.": (Fact("at", "cat", place="garden", time="night"),),
        "Chiếc xe buýt không ở nhà ga vào thứ Sáu.": (Fact("at", "bus", place="station", time="friday", negated=True),),
        "Học sinh ngồi trong thư viện vào buổi trưa.": (Fact("act", "pupil", "sit", place="library", time="noon"),),
        "Ông nội không làm việc ở chợ vào mùa hè.": (
            Fact("act", "grandfather", "work", place="market", time="summer", negated=True),
        ),
        "Cô bé mua một củ cà rốt ở chợ vào buổi sáng.": (
            Fact("use", "girl", "buy", "carrot", place="market", time="morning"),
        ),
        "Cây sáo đã cũ.": (Fact("is", "flute", "worn"),),
        "Cái giường không nặng.": (Fact("is", "bed", "heavy", negated=True),),
        "Có hai con bướm ở trong công viên.": (Fact("count", "butterfly", "two", place="park"),),
        "Tài xế sửa một chiếc xe tải trong làng, và con voi không nhỏ.": (
            Fact("use", "driver", "repair", "truck", place="village"),
            Fact("is", "elephant", "small", negated=True),
        ),
    },
}


@pytest.mark.parametrize("language", HAND_CHECKED)
def test_hand_checked_sentences_come_out_as_written(language):
    said = tuple(realise(statement, lexicon.load(language)) for statement in (DOG_NIGHT, DOUBLE, COUNT))
    assert said == HAND_CHECKED[language]


@pytest.mark.parametrize("language", TREACHEROUS)
def test_tricky_sentences_come_out_as_written(language):
    expected = TREACHEROUS[language]
    assert [realise(statement, lexicon.load(language)) for statement in expected.values()] == list(expected)


@pytest.mark.parametrize("language", lexicon.ALL)
def test_different_statements_are_different_sentences(language):
    rng = random.Random(1)
    statements = {(world.random_fact(rng),) for _ in range(6000)} | {world.random_statement(rng) for _ in range(2000)}
    # All "is" facts: in this pattern, synonyms and opposites are most alike.
    statements |= {
        (fact,)
        for subject in world.fillers("is", "subject")
        for predicate in world.PROPERTIES
        for negated in (False, True)
        if world.is_sensible(fact := Fact("is", subject, predicate, negated=negated))
    }
    seen: dict[str, world.Statement] = {}
    for statement in sorted(statements):
        sentence = realise(statement, lexicon.load(language))
        assert sentence not in seen, (sentence, statement, seen[sentence])
        assert "{" not in sentence and "  " not in sentence
        seen[sentence] = statement


@pytest.mark.parametrize("language", sorted({"zh", "th"} & set(lexicon.ALL)))
def test_chinese_and_thai_have_no_spaces(language):
    rng = random.Random(2)
    assert not any(" " in realise(world.random_statement(rng, double=0), lexicon.load(language)) for _ in range(500))


@pytest.fixture
def english():
    return tomllib.loads((lexicon.FOLDER / "en.toml").read_text(encoding="utf-8"))


def broken(data, change):
    data = copy.deepcopy(data)
    change(data)
    with pytest.raises(lexicon.LexiconError) as fault:
        lexicon.parse("en", data)
    return str(fault.value)


def test_faults_are_named(english):
    assert "[animal] has no 'dog'" in broken(english, lambda d: d["animal"].pop("dog"))
    assert "'unicorn' is not a concept" in broken(english, lambda d: d["animal"].update(unicorn={"the": "the unicorn"}))
    assert "dog: no form 'plural'" in broken(english, lambda d: d["animal"]["dog"].pop("plural"))
    assert "[patterns] has no 'at_not'" in broken(english, lambda d: d["patterns"].pop("at_not"))
    assert "[language] has no 'joiner'" in broken(english, lambda d: d["language"].pop("joiner"))
    assert "no slot 'thing'" in broken(english, lambda d: d["patterns"].update(act="{subject.the} {thing.a}"))
    assert "no class" in broken(english, lambda d: d["patterns"].update(act="{predicate.s:subject}"))
    assert "cannot read" in broken(english, lambda d: d["patterns"].update(act="{subject}"))
    assert "same forms" in broken(english, lambda d: d["property"].update(glad=d["property"]["happy"]))


def test_a_missing_agreement_form_is_named(english):
    def change(data):
        for person in data["person"].values():
            person["class"] = "m"
        data["person"]["aunt"]["class"] = "f"
        data["action"]["work"]["s"] = {"m": "works"}
        data["patterns"]["act"] = "{subject.the} {predicate.s:subject}"

    assert "work: 's' has no form for class 'f'" in broken(english, change)


def test_language_without_a_file_is_refused():
    with pytest.raises(lexicon.LexiconError, match="no language 'xx'"):
        lexicon.load("xx")
