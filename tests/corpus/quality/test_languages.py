"""Text in many languages and scripts: prose passes every kind of rules, whatever its page says; spam and lists don't."""

from __future__ import annotations

import random
import re
import tomllib
import unicodedata
from pathlib import Path

import pytest

from headwater.corpus.document import Document
from headwater.corpus.quality.filter import rules_step
from headwater.corpus.quality.limits import LimitsByText, read_limits
from headwater.corpus.sources.rules import RuleSettings
from headwater.corpus.step import Candidate
from headwater.corpus.words import WordHasher

FIND_LIMITS = LimitsByText()

DECLARATION = tomllib.loads(
    unicodedata.normalize("NFC", Path(__file__).with_name("declaration.toml").read_text(encoding="utf-8"))
)
KINDS = ("web", "books", "speeches", "articles", "documentation", "text")
KOREAN_BLOG = """주말 아침에 일찍 일어나 산에 갔다. 비가 온 뒤라 길이 꽤 미끄러웠다. 나는 천천히 걸으며 새 소리를 들었다. 위로 갈수록 바람이
세게 불어 손이 시렸다. 그래도 꼭대기에서 본 바다는 참 좋았다. 물을 마시고 빵을 먹으며 한참을 쉬었다. 옆에 앉은 할머니가 귤을 하나 주셨다. 고맙다고
인사를 하고 이런저런 얘기를 나눴다. 할머니는 매주 이 산에 오신다고 했다. 나도 다음 주에 또 올까 한다. 내려올 때는 무릎이 조금 아팠다. 집에 와서 씻고
바로 잠이 들었다. 저녁에는 국을 끓여 밥과 함께 먹었다. 내일은 일찍 일을 하러 가야 한다. 그래서 오늘은 이만 쓰고 자려고 한다."""
JAPANESE_ABSTRACT = """本研究では，河川の流れが岸の形をどのように変えるかを調べた．まず，模型の川に砂を敷き，水の量を少しずつ増やした．
その結果，流れが速いほど外側の岸が深く削られることが分かった．一方，内側の岸には砂がたまり，川は次第に曲がっていった．この変化は，実際の川で
百年にわたって記録された地図ともよく一致する．ただし，岸に草が生えている場合には，削られる速さが半分以下になった．したがって，岸の草を残すことは，
川の形を保つために有効であると考えられる．今後は，洪水のときの流れについても同じ方法で調べる予定である．"""
GERMAN_PAGE = """Die Fähre fährt im Winter nur einmal am Tag, weil das Eis in der Bucht den Hafen schmal macht. Wer zur Insel will,
sollte deshalb eine Stunde früher kommen und warme Kleidung mitbringen. An Bord gibt es Kaffee und Suppe, aber keinen Platz für
Fahrräder. Die Überfahrt dauert etwa vierzig Minuten; bei starkem Wind kann es auch doppelt so lange sein. Der Kapitän entscheidet
am Morgen, ob gefahren wird, und hängt einen Zettel an die Tür des Büros. Eine Karte kauft man auf dem Schiff, und zwar nur mit Münzen.
Auf der Insel wartet ein Bus, der alle Gäste zum Dorf bringt."""


def reason(text, kind="web", **meta):
    return rules_step(RuleSettings(), FIND_LIMITS)(
        Candidate(Document(text, "pages", "1", "page", kind, meta), WordHasher())
    ).reason


@pytest.mark.parametrize("language", DECLARATION)
def test_the_declaration_of_human_rights_passes_every_kind_in_every_language(language):
    dropped = {kind: why for kind in KINDS if (why := reason(DECLARATION[language], kind, language="en"))}
    assert not dropped


@pytest.mark.parametrize("text", [KOREAN_BLOG, JAPANESE_ABSTRACT, GERMAN_PAGE], ids=["korean", "japanese", "german"])
def test_plain_prose_passes_the_web_rules_whatever_language_its_template_names(text):
    text = text.replace("\n", "" if text == JAPANESE_ABSTRACT else " ")
    assert [reason(text, language=tag) for tag in ("en", "de", "ja", "")] == [None] * 4


NOUNS = {
    "zh": "手机 电脑 耳机 键盘 相机 手表 皮包 球鞋 外套 雨伞 眼镜 香水 茶叶 咖啡 红酒 机票 酒店 门票 保险 股票",
    "ja": "携帯 パソコン カメラ 腕時計 鞄 靴 上着 傘 眼鏡 香水 お茶 ワイン 航空券 ホテル 旅行 保険 株式 小説 映画 家具",
    "th": "โทรศัพท์ คอมพิวเตอร์ หูฟัง เมาส์ กล้อง นาฬิกา รองเท้า เสื้อ ร่ม แว่นตา น้ำหอม ครีม กาแฟ ไวน์ โรงแรม หุ้น เกม นิยาย เพลง โซฟา",
}
SALES = {
    "zh": "全场特价{0}元，正品保证，免费送货，立即拨打{1}订购！",
    "ja": "全品{0}円の特別価格、正規品保証、送料無料、今すぐ{1}へお電話ください！",
    "th": "ลดราคาพิเศษเหลือ {0} บาท ของแท้ ส่งฟรี โทรสั่งซื้อเลยที่ {1}",
}


@pytest.mark.parametrize("language", NOUNS)
def test_spam_and_lists_are_dropped_in_scripts_without_spaces(language):
    dice = random.Random(1)
    nouns = NOUNS[language].split()
    keywords = "，".join(dice.choices(nouns, k=200))
    links = "\n".join(" ".join(dice.sample(nouns, 2)) for _ in range(80))
    sales = "\n".join(SALES[language].format(dice.randint(10, 999), dice.randint(10**6, 10**7)) for _ in range(20))
    assert None not in {sort: reason(text) for sort, text in (("k", keywords), ("l", links), ("s", sales))}.values()


@pytest.mark.parametrize("language", ["ar", "de", "en", "hi", "ru"])
def test_prose_needs_no_full_stops_and_a_list_of_its_pieces_does(language):
    signs = r"[.!?؟।।]+"
    prose = re.sub(signs, "", DECLARATION[language])
    assert reason(prose) is None
    words = prose.split()
    pieces = "\n\n".join(" ".join(words[at : at + 7]) for at in range(0, len(words), 8))
    assert reason(pieces) == "few_sentences"


SHOP = {
    "de": ("Flüge Hotels Kredite Schuhe Uhren Handys Kameras Reifen Möbel", "günstige {} und {}|die besten {} in {}|der Preis für {}|eine {} zu {}"),
    "en": ("flights hotels loans shoes watches phones cameras tyres sofas", "cheap {} to {}|the best {} of {}|{} that have {}|{} and {} with {}"),
    "es": ("vuelos hoteles créditos zapatos relojes coches muebles", "los {} de la {}|el mejor {} en {}|{} y {} a buen precio|que {} comprar"),
    "fr": ("vols hôtels crédits montres billets voitures meubles", "les {} de la {}|le meilleur {} à {}|des {} et {}|{} en promotion"),
    "it": ("voli hotel prestiti scarpe orologi telefoni mobili", "{} di {} e {}|la migliore {} in {}|il prezzo per {}|{} che costa poco"),
    "nl": ("vluchten hotels leningen schoenen horloges meubels", "de beste {} van {}|het {} in {}|een {} en {}|{} te koop|{} met {} op {}"),
    "pl": ("loty hotele kredyty buty zegarki telefony meble", "{} i {} w {}|{} na raty|{} do {}|{} z {}|jak się kupuje {}|{} o {}"),
    "pt": ("voos hotéis créditos sapatos relógios carros móveis", "{} de {} e {}|o melhor {} do {}|a {} em {}|{} para {}|{} que vale"),
    "ru": ("билеты отели кредиты обувь часы телефоны мебель", "{} и {} в {}|{} на заказ|купить {} с {}|что лучше {}|как {} по {}"),
    "tr": ("uçuşlar oteller krediler saatler telefonlar biletler", "en iyi {} ve {}|bir {} için {}|bu {} ile {}|{} da {}|{} çok ucuz"),
}  # fmt: skip


@pytest.mark.parametrize("language", SHOP)
@pytest.mark.parametrize("separator", [", ", " | ", " » ", " - ", " "], ids=["comma", "bar", "menu", "dash", "space"])
def test_keywords_and_menus_with_stop_words_are_no_prose(language, separator):
    dice, (nouns, phrases) = random.Random(language), SHOP[language]
    made = (dice.choice(phrases.split("|")).format(*dice.sample(nouns.split(), 3)) for _ in range(120))
    assert reason(separator.join(made)) is not None


@pytest.mark.parametrize("separator", [", ", " | ", " · ", "\t"], ids=["comma", "bar", "dot", "tab"])
def test_lines_as_long_as_a_sentence_of_short_pieces_are_no_prose(separator):
    words = re.sub(r"[.,;]", "", DECLARATION["en"]).split()
    pieces = [" ".join(words[at : at + 5]) for at in range(0, len(words), 7)]
    lines = (separator.join(pieces[at : at + 6]) for at in range(0, len(pieces), 6))
    assert reason("\n\n".join(lines)) == "few_sentences"


def test_a_list_of_keywords_is_no_text_whatever_language_its_page_claims():
    keywords = " ".join(
        random.Random(2).choices(
            ["Reifen", "Winter", "Angebot", "Felge", "Sommer", "Auto", "Werkstatt", "Preis", "Montage"], k=9
        )
    )
    more = "Gummi Profil Schnee Straße Handel Kunde Lieferung Rechnung Bremse Motor Getriebe Kupplung Lenkrad Spiegel Fenster"
    text = f"{keywords} {more} Kofferraum Batterie Scheinwerfer Auspuff Kühler Zündkerze Ölwechsel Inspektion Leasing Garantie "
    text += "Versand Zubehör Ersatzteil Neuwagen Gebrauchtwagen Finanzierung Probefahrt Händler Hersteller Modell Farbe Leder. "
    text += "Stoff Sitze Heizung Radio Antenne. Navigation Anhänger Dachbox Fahrradträger Kindersitz. Schneeketten Eiskratzer."
    assert reason(text, language="fi") == "few_stop_words"


def candidate(text, **meta):
    return Candidate(Document(text, "pages", "1", "page", "web", meta), WordHasher())


def test_limits_follow_the_text_whatever_its_metadata_say():
    rows, by_text = read_limits(), LimitsByText()
    for language in ("de", "en", "fr", "hi", "ja", "tr", "zh"):
        assert by_text(candidate(DECLARATION[language], language="sw")) == rows[language], language


def test_rows_say_how_a_language_differs_from_english():
    rows = read_limits()
    assert (rows["en"].characters, rows["en"].words, rows["en"].word_length) == (1, 1, 1)
    assert rows["zh"].characters < 0.5 < rows["ko"].characters < 0.7 < rows["de"].characters
    assert rows["ml"].word_lengths[0] > 1.5 and rows["ko"].word_lengths[0] < 0.8
    spaced = [row for name, row in rows.items() if name != "default" and row.word_lengths[0] > 0.6]
    for value in (lambda row: row.characters, lambda row: row.words, lambda row: row.word_lengths[0]):
        assert sum(value(row) < value(rows["default"]) for row in spaced) <= 0.05 * len(spaced)


THAI_GOODS = (
    "กรุงเทพ เชียงใหม่ ภูเก็ต พัทยา หัวหิน สมุย กระบี่ วีซ่า ล่องเรือ ดำน้ำ สปา ร้านอาหาร บุฟเฟต์ ทุเรียน มะม่วง คาเฟ่ โรงพยาบาล คลินิก เลเซอร์ "
    "ฟิตเนส โยคะ มหาวิทยาลัย ขนย้าย"
)


@pytest.mark.parametrize("separator", [" ", ", ", " | "])
def test_a_list_of_thai_keywords_is_no_prose_though_they_hold_stop_words(separator):
    keywords = random.Random(separator).choices(THAI_GOODS.split(), k=200)
    goods = separator.join([*keywords, "และการเดินทางที่ดีของคุณ"])
    assert reason(goods) == "few_stop_words"
