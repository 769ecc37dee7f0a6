"""The words by which `edgeskin.service.reply_check` reads a language model's reply, in both languages.

A reply may use the words of VOCABULARY, those of the facts and the phrases of RULES. One with any other word
is thrown away, true or not, and the reader then has the template alone. The lists of forbidden words give a
more telling code, and cover combinations of known words.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from edgeskin.results import Level, Risk
from edgeskin.service.texts import Language


def _any(pattern: str) -> re.Pattern[str]:
    """Alternatives, separated by blanks or line ends, as whole words; ``_`` stands for a blank."""
    return re.compile(rf"(?<!\w)(?:{'|'.join(pattern.split()).replace('_', ' ')})(?!\w)")


def _forms(stems: str, endings: str) -> frozenset[str]:
    return frozenset(stem + ending for stem in stems.split() for ending in ("", *endings.split()))


VOCABULARY: Mapping[Language, frozenset[str]] = {
    "en": _forms(
        """
        a about after also am an and any are as ask at be because before but by can could do does during
        each for from further has have here how i if in into is it it's its itself itches itching kindly
        looked looking may me might must of on or our please see seen should so soon such thank thanks that
        that's the their them then there therefore these they this to us way we what when whether which
        while who will with you you're your bleeding changes changed worries worry
        """,
        "",
    )
    | _forms(
        """
        action advice advise aid analys appointment appear arrange assess assessment attention based book
        carefull check class clinic come computer consider consult contact dermatologist dermatology
        describe determine diagnos diagnose diagnosis diagnoses dermoscopy discuss doctor estimate
        examination examine examin explain expert exact expect find finding found following follow fit get
        give gave given go help image include including indicate indication information inspect itch bleed
        judge judgement lesion look made make mean medical mention note notice number offer opinion patient
        photo photograph physician picture plausible point possible practice prepare prompt professional
        program provide question reason recommend recommendation refer referral referred remain report
        research result say seek serve show shown sign skin software specialist speak spot state suggest
        support symptom system talk threshold tool turn understand view visit word work write examined
        assessed urgent closer area case concern limit limitation certain estimation pigment dark careful
        hand keep plan sees need important
        """,
        "s es ed d ing ly 's",
    ),
    "de": _forms(
        """
        ab aber alle allem allen aller alles als also am an auch auf aus bei beim bis bitte da dabei dafür
        damit daher darauf darüber das dass davon dazu dem den denn der des deshalb dich die dies diese
        diesem diesen dieser dieses dir doch dort du durch eben ein eine einem einen einer eines er es etwas
        für gegen haben hat hier ich ihm ihn ihnen ihr ihre ihrem ihren ihrer ihres im in ins ist jede jedem
        jeden jeder jedes kann können könnte könnten man mit nach noch nun ob oder sein seine seiner sich
        sie sind so sobald sollte sollten solche solchen soll sowie sowohl über um und uns unter vom von vor
        warum was weil weitere weiteren weiterer weiteres welche wenn wer werden wie wir wird wo zu zum zur
        zwischen bzw nimmt gibt sieht spricht verändert gemacht gesehen empfohlen bestehen besteht blutet
        juckt beunruhigt muss müssen darf dürfen möchte möchten plausibel plausible plausiblen
        """,
        "",
    )
    | _forms(
        """
        abklär abgeklärt achten angab angezeigt anhand anschau ansehen ansprech antwort anzeichen arzt ärzt
        ärztlich ärztin ärztinnen arztpraxis aufnahm auswert auswertung bedeut bedeutet bedenk befund
        befunde begutacht begutachtet berat beratung bereich beschreib besprech bestimm betracht beurteil
        beurteilt beurteilung bewert bewertet bewertung bild bilder bitten blut computer computerprogramm
        dermatolog dermatologin dermatologinnen dermatologisch dermatoskopie dien dermatoskopisch diagnos
        diagnose direkt dunkl dunkle einordn einschätz einschätzung einzeln empfehl empfiehlt empfehlung
        empfohlen ergeb ergebnis ergebnisse ergibt ergeben erhalt erklär ermittelt fach facharzt fachärzt
        fachärztin fachärztlich fachleut fall find folgend forschung forschungssoftware forschungszweck frag
        frage geb geeignet gehör genau genauer geprüft geschätzt gespräch gezeigt grenz grenzwert grund hab
        halt haut hautarzt hautärzt hautärztin hautärztinnen hautärztlich hautarztpraxis hautfach
        hautspezialist hautstell hautveränderung hinweis hol hör information jucken jed klär klass klasse
        komm kommen kontakt kontaktier lass lässt lassen lieg liegt mein meinung medizinisch meld merk
        mittel möglich möglichkeit mitteil nehm nenn notwendig patient patientin plausibel praxis programm
        prüf prüfung rat risiko rahmen sag sagt schau schätz schätzung schritt schwellenwert schwelle seh
        sichtbar software soll sprech spezialist stell stelle such system teil termin überweis überweisung
        untersuch untersucht untersuchung urteil vereinbar vereinbart veränder veränderung verdacht vermut
        versteh vorstell vorgestellt wahrscheinlichkeit weiter werd wert wirkt wissen wort worte zeig zeigt
        ziel zweck änder ändert bemerk pigment hautton hauttön beunruhig geh wichtig brauch bald zeitnah
        unser
        """,
        "e en er es em n s t st te ten end ern",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class LanguageRules:
    """What a sentence of one language may say. Patterns are of lower-case text."""

    specialist: re.Pattern[str]
    urgent: re.Pattern[str]
    examine: re.Pattern[str]
    """A verb of the action."""
    weak: re.Pattern[str]
    """Takes back an action in the same sentence."""
    condition: re.Pattern[str]
    safety_net: re.Pattern[str]
    change: re.Pattern[str]
    """What may only be said of a lesion that a doctor should see, not of the result."""
    doctor: re.Pattern[str]
    alone: re.Pattern[str]
    """The picture alone: what the action without a referral rests on."""
    hedge: re.Pattern[str]
    """Without it, naming a class is a diagnosis."""
    confidence: re.Pattern[str]
    serious: re.Pattern[str]
    cancer: re.Pattern[str]
    """In what context cancer may be named."""
    probability: re.Pattern[str]
    threshold: re.Pattern[str]
    levels: Mapping[Risk | Level, re.Pattern[str]]
    always: re.Pattern[str]
    """Negations that are true of every result."""
    if_referred: re.Pattern[str]
    if_not_referred: re.Pattern[str]
    above: re.Pattern[str]
    below: re.Pattern[str]


RULES: Mapping[Language, LanguageRules] = {
    "en": LanguageRules(
        specialist=_any(r"(?:skin_)?specialists? dermatologists? skin_(?:doctor|expert|physician)s?"),
        urgent=_any(
            r"urgent(?:ly)? as_soon_as_possible immediately promptly right_away without_(?:any_)?delay"
        ),
        examine=_any(
            r"see visit consult contact examined? examines look(?:ed|s)?_at check(?:ed|s)? assess(?:ed|es)? "
            r"appointment shown? speak_(?:to|with) referr?(?:al|ed)? seen seek"
        ),
        weak=_any(
            r"if when whether unless until only can could may might would maybe perhaps consider\w* possibly "
            r"possible before after suggest\w* think than were was"
        ),
        condition=_any(r"if when unless until should_(?:it|the|you) whether before"),
        safety_net=_any(r"chang\w+ bleed\w* itch\w* worr\w+ questions? concerns?"),
        change=_any(r"chang\w+ worr\w+"),
        doctor=_any(r"doctors? specialists? dermatologists? physicians? examin\w+ check\w*"),
        alone=_any(r"(?:this|the|one|a)_(?:picture|image|photo)_alone alone"),
        hedge=_any(r"plausible possible could may might fits? includ\w+ consider\w*"),
        confidence=_any(r"confiden\w+ certain\w* reliab\w+ sure"),
        serious=_any(r"most_serious"),
        cancer=re.compile(
            r"(?:risk|probability|signs?) (?:of|for) (?:skin )?cancer\b|\b(?:skin )?cancer (?:risk|"
            r"probability)\b|\b(?:say|tell|decide|clarify|confirm) whether (?:it|this|the (?:lesion|spot)) "
            r"is (?:skin )?cancer$"
        ),
        probability=_any(r"probability"),
        threshold=_any(r"threshold limit from"),
        levels={
            "LOW": _any(r"low"),
            "MEDIUM": _any(r"medium moderate"),
            "HIGH": _any(r"high"),
        },
        always=_any(
            r"(?:not|no|cannot|can_not|does_not_give|gives_no)_(?:a_|make_a_|"
            r"give_a_)?(?:medical_)?diagnosis(?!_of) (?:does_not|cannot|"
            r"can_not)_replace(?:_the)?(?:_examination_by)? not_a_medical_device (?:does_not|cannot|"
            r"can_not)_rule_out_(?:skin_)?cancer no_all-?clear not_an_all-?clear less_is_known_for any_other "
            r"other_(?:spots|lesions) only_a_(?:doctor|specialist|dermatologist|skin_specialist)_can"
        ),
        if_referred=_any(r"(?:do|please_do|please)_not_(?:wait|delay)(?:_with_this)? without_(?:any_)?delay"),
        if_not_referred=_any(
            r"no_(?:reason_for_a_)?referral (?:does_not|doesn't)_(?:call_for|give_a_reason_for)_a_referral"
        ),
        above=_any(r"(?:is_)?above_the_(?:threshold|limit) (?:over|above)"),
        below=_any(r"(?:is_)?below_the_(?:threshold|limit) (?:under|below)"),
    ),
    "de": LanguageRules(
        specialist=_any(
            r"fachärzt\w+ facharzt hautarzt hautarztpraxis hautärzt\w+ dermatolog(?:e|en|in|innen|isch|"
            r"ische) hautspezialist(?:en|in)?"
        ),
        urgent=_any(
            r"dringend\w* umgehend unverzüglich sofort schnellstmöglich so_(?:schnell|bald)_wie_möglich "
            r"ohne_(?:verzögerung|aufschub)"
        ),
        examine=_any(
            r"untersuch\w* kontaktieren vereinbaren ansehen anschauen abklären prüfen beurteilen begutachten "
            r"termin suchen_\w+ stellen_\w+ zeigen aufsuchen vorstellen wenden gehen überweis\w+ überwiesen"
        ),
        weak=_any(
            r"wenn falls sollte\w*_sie_(?:sich|es|die) ob nur kann können könnte\w* vielleicht eventuell "
            r"erst möglicherweise gegebenenfalls würde\w* bevor nachdem darf dürfen dürfte\w* war etwa "
            r"bis_\w+ möglich"
        ),
        condition=_any(r"wenn falls sollte_\w+ sobald ob sofern bevor"),
        safety_net=_any(r"(?:ver)?änder\w* blut\w* juck\w* beunruhig\w* fragen"),
        change=_any(r"\w*änder[nt]\w* beunruhig\w*"),
        doctor=_any(
            r"\w*arzt \w*ärzt\w+ dermatolog\w+ untersuch\w+ \w*spezialist\w* \w*arztpraxis fachleut\w+"
        ),
        alone=_any(r"allein"),
        hedge=_any(r"plausib\w+ möglich\w* könnte\w* kann können in_frage in_betracht passt passen"),
        confidence=_any(r"verlässlich\w* sicher\w* zuverlässig\w* konfidenz vertrauen"),
        serious=_any(r"am_schwersten am_ernstesten schwerwiegendste\w* ernsteste\w*"),
        cancer=re.compile(
            r"(?:risiko|wahrscheinlichkeit|anzeichen) (?:für|von) (?:haut)?krebs\b|\b(?:haut)?krebs(?:risiko|"
            r"wahrscheinlichkeit)s?\b|\b(?:sagen|klären|feststellen|beurteilen|entscheiden), ob es (?:sich "
            r"um )?(?:haut)?krebs (?:ist|handelt)$"
        ),
        probability=_any(r"\w*wahrscheinlichkeit"),
        threshold=_any(r"schwelle schwellenwert grenzwert grenze ab"),
        levels={
            "LOW": _any(r"niedrig\w{0,2} geringe?[nrsm]?"),
            "MEDIUM": _any(r"mittel mittlere\w? mäßig\w{0,2}"),
            "HIGH": _any(r"hoch hohe[nrsm]?"),
        },
        always=_any(
            r"(?:keine|ist_keine)_(?:ärztliche_|medizinische_)?diagnose(?:_gestellt)? kein_medizinprodukt "
            r"ersetzt_(?:nicht|keine|keinen)(?:_die)?(?:_ärztliche)?(?:_untersuchung)? keine_entwarnung "
            r"weniger_ist_bekannt_für (?:jede_)?andere[n]?_(?:stellen?|hautveränderung(?:en)?) "
            r"(?:haut)?krebs_(?:nicht_ausschließen|nicht_ausgeschlossen|auch_nicht_ausschließen) nur_(?:eine|"
            r"ein)_(?:ärztin|arzt|fachärztin|facharzt|hautärztin|hautarzt)(?:_oder_(?:eine|ein)_(?:ärztin|"
            r"arzt|fachärztin|facharzt|hautärztin|hautarzt))?_kann"
        ),
        if_referred=_any(
            r"(?:bitte_)?warten_sie_(?:bitte_)?(?:damit_)?nicht nicht_warten ohne_(?:verzögerung|aufschub) "
            r"zögern_sie_(?:bitte_)?nicht"
        ),
        if_not_referred=_any(r"(?:kein_grund_für_eine|keinen_grund_für_eine|keine)_überweisung"),
        above=_any(r"über_(?:der_schwelle|dem_(?:grenzwert|schwellenwert)) oberhalb"),
        below=_any(r"unter_(?:der_schwelle|dem_(?:grenzwert|schwellenwert)) unterhalb"),
    ),
}

CLASS_FORMS: Mapping[Language, Mapping[str, re.Pattern[str]]] = {
    "en": {
        "MEL": _any(r"melanomas?"),
        "NV": _any(r"melanocytic_(?:nevus|naevus|nevi|naevi)"),
        "BCC": _any(r"basal_cell_carcinomas?"),
        "AK": _any(r"actinic_keratos[ei]s"),
        "BKL": _any(r"benign_keratos[ei]s"),
        "DF": _any(r"dermatofibromas?"),
        "VASC": _any(r"vascular_lesions?"),
        "SCC": _any(r"squamous_cell_carcinomas?"),
    },
    "de": {
        "MEL": _any(r"melanom(?:e|en|s)?"),
        "NV": _any(r"melanozytäre[nrs]?_(?:nävus|naevus|nävi|naevi)"),
        "BCC": _any(r"basalzellkarzinom(?:e|en|s)?"),
        "AK": _any(r"aktinische[nr]?_keratosen?"),
        "BKL": _any(r"gutartige[nr]?_keratosen?"),
        "DF": _any(r"dermatofibrom(?:e|en|s)?"),
        "VASC": _any(r"gefäßveränderung(?:en)?"),
        "SCC": _any(r"plattenepithelkarzinom(?:e|en|s)?"),
    },
}
"""The forms in which a reply may name a class of the facts."""

CLASS_WORDS = re.compile(
    r"melano|n[ae]?e?v(?:us|i)\b|näv|\bmoles?\b|muttermal|leberfleck|birthmark|basal|\bbcc\b|squamous|"
    r"\bscc\b|spinal|platten|stachelzell|kerato|\bak\b|\bbkl\b|lentig|seborr|warze|\bwarts?\b|dermatofib|"
    r"histiozyt|histiocyt|vascular|angiom|h[aä]e?mangi|gefäß|blutschwamm|bowen|merkel|kaposi|spitz|dysplas|"
    r"carcinom|karzinom|tumou?r|malign|bösartig|lymphom|sarcom|sarkom|eczema|ekzem|psoria|infection|"
    r"infektion|\bmel\b|\bnv\b|\bdf\b|\bvasc\b|freckle|sommerspross|cyst|zyst|precancer|vorstufe|basaliom|"
    r"spinaliom|metasta"
)
ALL_CLEAR = re.compile(
    r"harmless|benign|should (?:look|be (?!seen|examined|checked|looked|shown|assessed))|as it should|(?:so "
    r")?sein soll|soll(?:en|te|ten)? so|so sein|innocent|innocuous|\bsafe|healthy|\bnormal|\bfine\b|"
    r"\bok(?:ay)?\b|all[ -]clear|nothing|no need|no cancer|not cancer|cancer[- ]free|not dangerous|relax|"
    r"reassur|rest assured|good news|peace of mind|unremarkable|no reason to|not need|n't need|needn't|"
    r"do(?:n't| not) worry|unnecessary|harmlos|gutartig|unbedenklich|ungefährlich|unauffällig|gesund|in "
    r"ordnung|alles gut|entwarn|beruhigt? sein|sorge|kein(?:en|e)? (?:haut)?(?:arzt|ärzt|krebs|grund)|nicht "
    r"(?:nötig|notwendig|erforderlich)|krebsfrei|unnötig|gute nachricht|\bsorglos|müssen nicht|brauchen "
    r"(?:nicht|kein)"
)
TREATMENT = re.compile(
    r"cream|\bointment|lotion|medicine|medicat|\bdrugs?\b|tablet|\bpills?\b|antibiot|[ck]ortis|steroid|"
    r"surger|surgic|remov|excis|exzis|biops|chemo|radiat|laser|freez|sunscreen|\bapply|treat|therap|\bmg\b|"
    r"vitamin|\boil|salbe|creme|medikament|tablette|operation|operier|entfern|bestrahl|vereis|sonnenschutz|"
    r"behand|auftragen|\böl|imiquimod|fluorouracil|ibuprofen|aspirin|homeopath|homöopath|inject|spritz"
)
NEGATIONS = re.compile(
    r"(?<!\w)(?:not?|never|none|nobody|neither|nor|without|cannot|hardly|barely|\w+n't|free|lacks?|absent|"
    r"exclud\w+|instead|rather|nicht|kein\w*|nie|niemals|weder|ohne|nichts|niemand|kaum|statt|anstatt|"
    r"ausgeschlossen|auszuschließen|ausschließ\w+)(?!\w)"
)
NUMBER_WORDS = re.compile(
    r"(?<!\w)(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|twenty|thirty|"
    r"forty|fifty|sixty|seventy|eighty|ninety|hundreds?|thousands?|millions?|dozens?|half|halves|thirds?|"
    r"quarters?|\w*fifths?|sixths?|sevenths?|eighths?|ninths?|tenths?|percent|per ?cent|once|twice|double|"
    r"triple|first|second|fourth|null|eins|zwei|drei|vier|fünf|sechs|sieben|acht|neun|zehn|elf|zwölf|\w*zehn|"
    r"\w+zig|dreißig|\w*hundert\w*|\w*tausend\w*|millionen?|dutzend\w*|hälfte|halb\w*|drittel|viertel|"
    r"\w*[fscbnhg]tel|prozent|\w+mal|doppelt|zweit\w+|dritt\w+|viert\w+|fünft\w+|zehnt\w+|eine[rs]? von|"
    r"majority|mehrheit|minority|several|mehrere|meisten)(?!\w)"
)
OTHER_LEVELS = re.compile(
    r"(?<!\w)(?:very|less|fewer|most(?! serious)|extreme\w*|low\w+|small\w*|minor|little|slight\w*|mild\w*|"
    r"minimal\w*|tiny|negligible|weak|reduced|unlikely|likel\w+|rare\w*|intermediate|average|high(?:er|est|"
    r"ly)|raised|elevated|increased|severe|danger\w*|sehr|weniger|klein\w*|leicht\w*|minimal\w*|winzig\w*|"
    r"schwach\w*|wahrscheinlich\w{0,2}|unwahrscheinlich\w*|selten\w*|durchschnittlich\w*|höher\w*|höchst\w*|"
    r"erhöht\w*|niedriger\w*|geringer\w*|geringfügig\w*|gefährlich\w*|stark\w*)(?!\w)"
)
MARKUP = re.compile(r"[<>\[\]{}*#`_|\\=@~^$]|https?:|www\.|://|\.(?:com|org|net|io|de|ai)\b")
CHARACTERS = re.compile(r"[a-zäöüß0-9 .,:;!'\"()%\n-]*")
