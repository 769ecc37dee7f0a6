"""Words that explain why a sentence of a language model's reply was thrown away.

They only choose the code. `edgeskin.service.reply_grammar` decides what may be shown.
"""

import re

from edgeskin.results import Level, Risk

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
    r"\d|(?<!\w)(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|twenty|thirty|"
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

LEVELS: dict[Risk | Level, re.Pattern[str]] = {
    "LOW": re.compile(r"\b(?:low|niedrig|gering)"),
    "MEDIUM": re.compile(r"\b(?:medium|moderate|mittel|mittlere|mäßig)"),
    "HIGH": re.compile(r"\b(?:high|hoch|hohe)"),
}
SIDES = re.compile(r"\b(?:above|below|over|under|über|unter|oberhalb|unterhalb)\b")
CONFIDENCE = re.compile(
    r"\b(?:confiden|certain|reliab|sure\b|verlässlich|sicher|zuverlässig|konfidenz|vertrauen)"
)
CANCER = re.compile(r"cancer|krebs")
CONDITIONS = re.compile(
    r"\b(?:if|when|unless|until|whether|before|chang\w*|worr\w*|wenn|falls|sobald|sofern|bevor|ob|nur|"
    r"\w*änder[nt]\w*|beunruhig\w*)\b"
)
