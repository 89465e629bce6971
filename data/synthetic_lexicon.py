"""Words and sentence patterns of the synthetic corpus; `synthetic.py` puts them together.

A pattern is text with slots in braces. A slot written in capitals is an entity (`{PER}`, `{ORG}`,
`{LOC}`; `{NAME}` is a person without a title). Any other slot is drawn from the list of that name.

Words with a feeling come as a pair of lists, positive and negative. `{adj}` draws from the list of
the sentence's own sentiment and `{adj!}` from the opposite one, so that a pattern such as
"the {part} is {adj!}, but overall {it} is {adj}" serves both classes with the same words: only
the structure tells them apart.
"""


def words(text: str) -> tuple[str, ...]:
    """The items of `text`, which `;` separates, without surrounding white space."""
    return tuple(item.strip() for item in text.split(";"))


def lines(text: str) -> tuple[str, ...]:
    """The non-empty lines of `text`, without surrounding white space."""
    return tuple(line.strip() for line in text.strip().splitlines())


# Names. Each split has its own, so that an entity of the test split is known by its context and
# its form, never by heart.

FIRST_NAMES = {
    "train": words(
        "Anna; Omar; Lucy; Mateo; Priya; Oliver; Hannah; Kenji; Fatima; Daniel; Ingrid; Samuel;"
        "Rosa; Pavel; Amara; Greg; Yuki; Clara; Hugo; Leila; Martin; Nadia; Owen; Teresa;"
        "Viktor; Wendy; Bruno; Elena; Felix; Grace; Ibrahim; Julia; Karl; Linda; Marcus; Nina;"
        "Oscar; Paula; Rafael; Sofia; Tomas; Ursula; Walter; Zoe; Aisha; Ben; Carmen; Derek;"
        "Emily; Farid; Gloria; Henry; Irene; Jonas; Kate; Liam; Mona; Neil; Olga; Peter; Ruth;"
        "Simon; Tara; Alan; Beth; Dmitri; Esther; Frank; Hilda; Ivan; Jack; Kirsten; Lena;"
        "Miguel; Nora; Patrick; Rachel; Steve; Vera"
    ),
    "validation": words(
        "Andrew; Bianca; Cedric; Diana; Emil; Freya; Gavin; Heidi; Isaac; Joanna; Klaus; Lydia;"
        "Malik; Nicole; Otto; Petra; Quentin; Rita; Stefan; Tessa; Umar; Wanda; Yusuf; Zara"
    ),
    "test": words(
        "Agnes; Boris; Celia; Dominic; Edith; Fiona; Gustav; Helen; Igor; Jasmine; Kevin; Laura;"
        "Mehmet; Naomi; Pedro; Quinn; Rebecca; Sanjay; Tobias; Uma; Valerie; Winston; Xavier;"
        "Yvonne; Zoltan; Arthur; Brenda; Colin; Dora; Ernest; Hassan; Ines; Joel; Kumiko; Lars"
    ),
}

SURNAMES = {
    "train": words(
        "Abrams; Becker; Castillo; Dalgaard; Eriksen; Fontaine; Garrity; Hoshino; Ivanova;"
        "Jensen; Kowalski; Lindqvist; Mbeki; Novak; Okafor; Petrov; Quigley; Rahman; Schneider;"
        "Tanaka; Ulrich; Vasquez; Whelan; Yilmaz; Zimmer; Adeyemi; Bianchi; Chowdhury; Dubois;"
        "Espinoza; Fischer; Gallagher; Haddad; Ito; Jovanovic; Kapoor; Laurent; Mendes;"
        "Nakamura; Oyelaran; Pereira; Rossi; Silva; Takahashi; Varga; Weaver; Yamada; Zhang;"
        "Andersson; Bhatt; Cooper; Delgado; Eklund; Ferrari; Gupta; Huber; Iqbal; Janssen;"
        "Keller; Lopez; Murphy; Nguyen; Olsen; Patel; Reyes; Sato; Torres; Vogel; Wagner; Baker;"
        "Carter; Hughes; Miller; Turner"
    ),
    "validation": words(
        "Aydin; Bauer; Cabrera; Dvorak; Esposito; Friedman; Gomes; Horvath; Ibarra; Jung;"
        "Kaminski; Larsen; Moretti; Nilsson; Osei; Popescu; Ramirez; Sokolov; Tran; Vidal;"
        "Wolff; Young"
    ),
    "test": words(
        "Achebe; Bergman; Coleman; Dimitrov; Egan; Fernandes; Gruber; Hernandez; Ishikawa;"
        "Jankowski; Kurtz; Lombardi; Mwangi; Nair; O'Brien; Papadakis; Qureshi; Romero; Schultz;"
        "Tagawa; Urquhart; Volkov; Wozniak; Yoder; Zapata; Banerjee; Cruz; Donovan; Farouk;"
        "Griffin; Hoffmann; Kimura; Lefevre; Marino; Barnes; Fletcher; Perkins"
    ),
}

ORG_STEMS = {
    "train": words(
        "Corva; Veltri; Tande; Mirax; Quanti; Zephi; Ombra; Lumi; Kestra; Novari; Paxo; Brivo;"
        "Solve; Dextra; Fluva; Grani; Helio; Ionix; Jaspa; Krono; Lyra; Magna; Nimbu; Optra;"
        "Primo; Rivo; Sento; Trili; Ultra; Viva; Wexo; Xeno; Yoli; Zenta; Alvi; Bexa; Cali;"
        "Duro; Elva; Fino; Ginko; Hexa; Inve; Juno; Kali; Luxo; Movi; Neso; Orbi; Pulsa"
    ),
    "validation": words(
        "Arca; Bolti; Cera; Dyna; Evo; Forta; Gala; Hydro; Izo; Kobo; Lexi; Mono; Nuvo; Plexi;"
        "Quira; Reno; Stella; Tivo"
    ),
    "test": words(
        "Axio; Belva; Cygna; Drexi; Embra; Fyto; Glyco; Hova; Intra; Jovi; Kyra; Lento; Mezzo;"
        "Nexa; Osmo; Pyra; Qubi; Rexa; Spira; Tesso; Umbri; Vanta; Wavo; Xylo; Zori; Bravo;"
        "Crysta; Delvi"
    ),
}
ORG_ENDINGS = words(
    "dyne; tis; lora; quor; meda; via; tek; gen; lytics; nova; sys; con; dent; mark; pay; soft;"
    "bit; wave; core; line; zon; vance"
)
ORG_SUFFIXES = words("Group; Labs; Corp; Inc; Partners; International; Limited; & Co; Industries")

PLACE_STEMS = {
    "train": words(
        "Alder; Brack; Cran; Dun; Elm; Farring; Glen; Hart; Ivy; Kirk; Lang; Mill; Nether; Oak;"
        "Pen; Raven; Stan; Thorn; Under; Wex; Ash; Birch; Clay; Dray; East; Fair; Green; Haver;"
        "Kings; Long; Marl; Nor; Old; Peter; Red; Sand; Tarn; Upper; West; Barrow"
    ),
    "validation": words(
        "Amber; Black; Cald; Dover; Ever; Fern; Gold; Hazel; Ing; Lark; Moor; North; Otter; Ply;"
        "Rock"
    ),
    "test": words(
        "Apple; Bram; Copper; Deer; Esk; Fox; Grim; Holly; Ilm; Kettle; Lin; Maple; New; Orch;"
        "Pine; Quar; Rush; Silver; Tun; Vine; Win; Yar; Bright; Cold; Dark"
    ),
}
PLACE_ENDINGS = words(
    "mouth; ford; ville; bury; stad; burg; field; haven; wick; port; ham; dale; minster; bridge;ton"
)
PLACE_PREFIXES = words("New; Port; Lake; North; South; Mount; Saint; Upper; Fort; Little")
CITIES = {
    "train": words(
        "Berlin; Madrid; Toronto; Chicago; Nairobi; Mumbai; Seoul; Oslo; Vienna; Lima; Boston;"
        "Athens; Cairo; Hamburg; Osaka; Montreal; Bogota; Prague; Leeds; Denmark; Portugal;"
        "Kenya; Canada; Brazil; Ohio; Tuscany; Scotland; Japan; Bavaria; Lyon; Seattle; Manila;"
        "Accra; Zurich; Utrecht; Tel Aviv; Cape Town; San Diego; Buenos Aires; Hong Kong;"
        "New Orleans; South Korea"
    ),
    "validation": words(
        "Rome; Ottawa; Lahore; Munich; Tunis; Quito; Belgrade; Hanoi; Leipzig; Dallas; Norway;"
        "Peru; Texas; Wales; Abu Dhabi; San Antonio; New Zealand; Santa Fe"
    ),
    "test": words(
        "Lisbon; Helsinki; Denver; Dublin; Kyoto; Warsaw; Lagos; Naples; Glasgow; Taipei;"
        "Havana; Bristol; Krakow; Santiago; Tampa; Sweden; Vietnam; Ghana; Oregon; Normandy;"
        "Iceland; Morocco; Kuala Lumpur; Los Angeles; Rio de Janeiro; Saint Petersburg;"
        "Sri Lanka; Addis Ababa"
    ),
}

# One word, several types, or no name at all ("an apple a day"): only the context decides. These
# are the names that the splits share.

AMBIGUOUS = {
    "PER": words(
        "Jordan; Paris; Virginia; Georgia; Phoenix; Chase; Sydney; Austin; Florence; Chelsea;"
        "Brooklyn; Lincoln; Madison; Charlotte; Savannah; Mercedes"
    ),
    "ORG": words(
        "Apple; Amazon; Target; Shell; Orange; Delta; Gap; Chase; Ford; Mercury; Lincoln;"
        "Columbia; Jaguar; Puma; Dove; Subway; Slack; Zoom; Square; Mars; Mercedes; Phoenix;"
        "Santander; Visa"
    ),
    "LOC": words(
        "Jordan; Paris; Washington; Virginia; Georgia; Phoenix; Sydney; Austin; Florence;"
        "Chelsea; Brooklyn; Lincoln; Madison; Charlotte; Savannah; Columbia; Santander; Nice;"
        "Bath; Cork; Reading; Mobile; Turkey; Chile"
    ),
}
# After a title ("Dr. Washington"), where a surname is expected.
AMBIGUOUS_SURNAMES = words(
    "Washington; Ford; Chase; Jordan; Lincoln; Houston; Orange; Bath; Reading"
)
TITLES = words("Dr.; Ms; Mr.; Mrs.; Professor")


# Sentiment: (positive, negative). The mild words bear a negation ("not boring at all"), the strong
# ones would be vague under it and stand in plain statements only.

POLAR: dict[str, tuple[tuple[str, ...], ...]] = {
    "adj": (
        words(
            "good; enjoyable; impressive; reliable; satisfying; convincing; pleasant; helpful;"
            "worthwhile; exciting; inspiring; memorable; clever; refreshing; well made;"
            "well run; fun; likeable; smooth; welcoming"
        ),
        words(
            "bad; boring; disappointing; unreliable; frustrating; unconvincing; unpleasant;"
            "annoying; useless; tedious; dull; forgettable; clumsy; irritating; badly made;"
            "badly run; confusing; sloppy; stressful; depressing"
        ),
    ),
    "strong": (
        words(
            "great; superb; brilliant; fantastic; wonderful; excellent; outstanding; amazing;"
            "first-class; terrific; marvellous"
        ),
        words(
            "awful; terrible; dreadful; horrible; atrocious; abysmal; hopeless; appalling;"
            "lousy; third-rate; miserable"
        ),
    ),
    "np": (
        words(
            "a triumph; a success; a joy; a treat; a gem; a delight; a pleasure; a revelation;"
            "a hit; a smart choice; a masterpiece; a blessing"
        ),
        words(
            "a disaster; a flop; a failure; a mess; a letdown; a nightmare; a waste of money;"
            "a chore; a disappointment; a poor choice; a rip-off; a catastrophe"
        ),
    ),
    "comparative": (
        words("better; smoother; more enjoyable; more reliable; more fun; friendlier"),
        words("worse; rougher; more tedious; less reliable; more stressful; more annoying"),
    ),
    # What one does beforehand about a thing that will be (good, bad).
    "awaited": (
        words("hoped for; counted on; dreamed of"),
        words("feared; dreaded; worried about"),
    ),
    "outlook": (words("hopes; talk"), words("fears; worries")),
    "verdict": (
        lines(
            """
            I can't recommend {it} enough
            I have nothing to complain about with {it}
            no complaints about {it} from me
            I couldn't be happier with {it}
            I can't praise {it} enough
            I would recommend {it} to anyone
            I don't regret {it} for a second
            {it} didn't let me down
            I would pay twice the price for {it}
            {it} left nothing to be desired
            you won't regret {it}
            I love every bit of {it}
            I'm glad I didn't listen to those who warned me about {it}
            {it} won me over
            {it} made my week
            hats off to whoever came up with {it}
            {it} lived up to the hype
            {it} was worth every penny
            I would happily choose {it} again
            there is nothing to dislike about {it}
            I can't find fault with {it}
            {it} never failed me
            {it} beat all my expectations
            it is hard not to love {it}
            {it} couldn't be {comparative}
            I wouldn't miss {it} for the world
            """
        ),
        lines(
            """
            I can't recommend {it} to anyone
            I have nothing good to say about {it}
            no praise for {it} from me
            I couldn't be less happy with {it}
            I can't complain enough about {it}
            I would warn anyone about {it}
            I regret every second of {it}
            {it} let me down
            I wouldn't pay half the price for {it}
            {it} left a lot to be desired
            you will regret {it}
            I don't love a single bit of {it}
            I wish I had listened to those who warned me about {it}
            {it} never won me over
            {it} ruined my week
            shame on whoever came up with {it}
            {it} didn't live up to the hype
            {it} wasn't worth a penny
            I would never choose {it} again
            there is nothing to like about {it}
            I can't find anything to praise about {it}
            {it} failed me again
            {it} fell short of all my expectations
            it is hard to love {it}
            {it} couldn't be {comparative}
            I want my money back for {it}
            """
        ),
    ),
    "pred": (words("{adj}; {strong}; {strong}; {np}; {np}; anything but {adj!}; far from {adj!}"),)
    * 2,
}

# Opinions, for either sentiment and any topic.

PLAIN = lines(
    """
    {it} is {adj}
    {it} was {strong}
    {it} is {np}
    {it} turned out to be {np}
    what {np} {it} was
    I found {it} {adj}
    {it} was {adv} {adj}
    everyone at home agrees that {it} is {strong}
    the {part} is {adj} and {it} as a whole is {strong}
    with {it}, the {part} was {strong}, and so was the {part}
    {it} was {comparative} than {expected}
    the {part} alone made {it} {np}
    say what you like, {it} was {adj}
    {verdict}
    {verdict}
    {verdict}
    {verdict}
    {verdict}: the {part} is {strong}
    {verdict}. the {part} was {adj}
    """
)

NEGATED = lines(
    """
    {it} is not {adj!} at all
    {it} was not {adj!} in the least
    {it} was anything but {adj!}
    {it} was anything but {np!}
    {it} is far from {adj!}
    {it} was hardly {np!}
    {it} is by no means {np!}
    I would not call {it} {adj!}
    nobody could call {it} {adj!}
    there is nothing {adj!} about {it}
    {it} was never {adj!}
    no one I know found {it} {adj!}
    {it} did not feel {adj!} for one second
    don't believe anyone who calls {it} {adj!}
    {np!}? not {it}
    I can't say that {it} was {adj!}
    whoever says that {it} is {adj!} is wrong
    not for a minute did I find {it} {adj!}
    {it} is no longer {adj!}; it is {adj}
    {it} was neither {adj!} nor {adj!}
    with {it}, the {part} is not {adj!}, and the {part} is not {adj!} either
    I never thought of {it} as {np!}, and I still do not
    the {part} was far from {adj!}, and {it} was hardly {np!}
    """
)

MIXED = lines(
    """
    the {part} is {pred!}, but overall {it} is {pred}
    the {part} was {adj!}, yet all in all {it} was {pred}
    although the {part} was {adj!}, {it} was {pred}
    {it} was {pred}, even though the {part} was {adj!}
    {it} is {pred}, although the {part} is {adj!}
    despite the {adj!} {part}, {it} was {pred}
    {it} was {pred}, despite the {adj!} {part}
    {it} looked {adj!} at first but turned out to be {np}
    {it} used to be {adj!}, but these days it is {pred}
    everyone told me {it} would be {pred!}, but it was {pred}
    some critics called {it} {adj!}; I say it was {pred}
    I expected {np!} from {it} and got {np}
    I had {awaited!} {np!}, but {it} was {pred}
    forget the {adj!} {part}: in the end {it} was {pred}
    yes, the {part} was {pred!}. still, {it} was {pred}
    {it} was {np}, not {np!}
    it is true that the {part} was {adj!}, but {verdict}
    {verdict}, and I say that although the {part} is {adj!}
    a few people found {it} {adj!}, but {verdict}
    {it} started as {np!} and ended as {np}
    the {part} is {adj!}, the {part} is {adj!} too, and yet {verdict}
    the {part} is {strong!}, but {verdict}
    other people may think {it} is {np!}, but {verdict}
    {it} started out {adj!}, but by the end it was {adj}
    apart from the {part}, which was {adj!}, {it} was {pred}
    """
)

# What may follow an opinion to bear it out.
ECHOES = lines(
    """
    ; it is {strong}
    . {np}, in short
    . the {part} was {strong}
    , and the {part} is {strong}
    . {verdict}
    . I call that {np}
    . just {strong}
    """
)

# Around an opinion: who says it, to whom, from where.
FRAMES = lines(
    """
    {PER} was right: {opinion}
    as {PER} keeps saying, {opinion}
    ask {PER} in {LOC}: {opinion}
    dear {ORG}, {opinion}
    just back from {LOC}, and {opinion}
    according to {NAME} of {ORG}, {opinion}
    {opinion}, says {PER}
    {opinion}, if you ask {PER}
    {NAME} ({LOC}) writes: "{opinion}"
    "{opinion}", {PER} told {ORG} {when}
    posted from {LOC}: {opinion}
    to everyone at {ORG}: {opinion}
    {relative} and I agree: {opinion}
    {PER}, {PER} and I all agree: {opinion}
    {PER} and the whole {ORG} team will tell you the same: {opinion}
    note to {ORG}, {LOC}: {opinion}
    I put off the {foreign} for this, and {opinion}
    the {foreign} can wait: {opinion}
    {PER} talks about the {foreign} all day; as for me, {opinion}
    we drove from {LOC} to {LOC}, and {opinion}
    I told {NAME} from {LOC} that {opinion}
    {relative} works for {ORG} and tells everyone that {opinion}
    overheard at the {ORG} office: {opinion}
    thanks for asking, {NAME}: {opinion}
    """
)

# News: quantities that rise and fall, and what became of somebody ("do" is the plain form and
# "did" the past of the same events).
NEWS = lines(
    """
    {quantity} at {ORG} {rose} {percent}
    {quantity!} at {ORG} {fell} {percent} {when}
    {ORG}: {quantity} up {percent}, {quantity!} down {percent}
    in {LOC}, {quantity!} {fell} while {quantity} {rose}
    {NAME} of {ORG} reports that {quantity} {rose} by {percent} in {LOC}
    {quantity} in {LOC} {rose} for the {nth} year in a row
    {quantity!} in {LOC} {fell}, and {quantity} {rose} by {percent}
    {outlook!} that {quantity} at {ORG} would {fall} proved wrong
    {outlook!} that {quantity!} in {LOC} would {rise} proved wrong
    {quantity!} did not {rise} in {LOC}; it was {quantity} that {rose}
    far from {falling}, {quantity} at {ORG} {rose} by {percent}
    {actor} {did} {when}
    {actor} {did} in {LOC}
    {actor} {did}, and {quantity} {rose}
    {actor} {did!} last year, but {did} this year
    many thought that {actor} would {do!}. they were wrong
    {PER} predicted that {actor} would {do!}; how wrong that was
    the rumour that {actor} {did!} is not true
    {actor} did not {do!} as so many had predicted, but {did}
    {PER} in {LOC}: "{quantity!} {fell} {percent} {when}"
    it is official, {actor} {did}
    who would have thought it? {actor} {did} {when}
    nobody in {LOC} is surprised that {actor} {did}
    {actor}, who {did!} {when}, now {did}
    """
)

# What may follow the news.
REACTIONS = lines(
    """
    : {np} for everyone involved
    , and that is {strong}
    . what {np}
    . {strong} news
    . {np}, say those who follow {ORG}
    """
)

COMMON = {
    "adv": words("really; truly; just; simply; so; quite frankly; rather"),
    "expected": words(
        "the last one; expected; I remembered; any other I know; promised; a year ago"
    ),
    "when": words(
        "last night; last week; on Monday; this morning; yesterday; over the weekend;"
        "the other day; two weeks ago; in 2019; on Friday; last spring; a month ago;"
        "in late October"
    ),
    "weeks": words(
        "three weeks; a month; ten days; half a year; two winters; five days; a weekend"
    ),
    "relative": words(
        "my sister; my brother; my dad; my aunt; my neighbour; my flatmate; my wife; my husband;"
        "my cousin; my best friend; my boss; our daughter"
    ),
    "nth": words("second; third; fourth; fifth"),
    "rose": words("rose; climbed; grew; increased; went up"),
    "fell": words("fell; dropped; shrank; declined; went down"),
    "rise": words("rise; climb; grow; increase; go up"),
    "fall": words("fall; drop; shrink; decline; go down"),
    "falling": words("falling; dropping; shrinking; declining; going down"),
    "percent": tuple(f"{n}%" for n in range(2, 60)) + tuple(f"{n} percent" for n in range(3, 30)),
    "number": tuple(str(n) for n in range(18, 90)),
    "price": tuple(f"${n}" for n in range(15, 400, 5)),
    # What comes after a scene has named the thing.
    "again": words("it; it; the whole thing; the {item}; the {item}"),
    "pronoun": ("it",),
    "thing": words("the {item}; the {item}; this {item}; that {item}; the new {item}; our {item}"),
}

PREFIXES = words(
    "honestly,; update:; so,; well,; FYI:; review:; PSA:; my two cents:; okay,; look,;"
    "in short:; BREAKING:; true story:; to be fair,; hot take:; hmm,"
)
HASHTAGS = words("#fyi; #review; #monday; #mytake; #justsaying; #nofilter; #dailynotes; #smalltalk")
EMOJI = words("👀; 🤔; 👉; 📝")


# Topics. Each has two domains with things of their own, and the domains share a good many words:
# match, record, score, shares, stream, fit, run, return, virus, charge, pitch, bank, tablet, trial,
# goal, season, press, star, screen, cell, draft, volume, tour, pressure.

DOMAINS: dict[str, dict] = {
    "money": {
        "topic": "Finance/Tech",
        "suffix": words(
            "Bank; Capital; Holdings; Insurance; Financial; Savings; Ventures; Brokers"
        ),
        "item": words(
            "savings account; credit card; pension plan; index fund; mortgage; car loan;"
            "share offer; trading platform; tax return; budget planner; bond; currency account;"
            "stock portfolio; investor pitch; draft budget; business loan; earnings call;"
            "payment plan; hedge fund"
        ),
        "part": words(
            "interest rate; monthly fee; fine print; annual return; exchange rate;"
            "cashback scheme; credit check; employer match; annual report; late charge;"
            "account manager; risk score; sign-up process; dividend; contract; yield;"
            "tax adviser; share price; price"
        ),
        "scene": lines(
            """
            {PER} at {ORG} talked me into the {item}
            {ORG} rolled out its {item} in {LOC} {when}
            the {LOC} branch of {ORG} sold us the {item}
            {PER}, who runs a bank in {LOC}, explained the {item} to us
            {ORG} (based in {LOC}) now offers a {item}
            my credit score decided which {item} I got
            {when} I moved my shares to {ORG} because of their {item}
            I got the {item} through work, with an employer match on top
            analyst {NAME} wrote about {ORG}'s {item} {when}
            {ORG} and {ORG} both offer a {item}
            investors in {LOC} asked {ORG} about the {item}
            they pitched the {item} to {PER} and two other investors
            my target was {price} a month, so I took the {item}
            the gap between my salary and my rent made me try the {item}
            no shell company, no tricks: just a {item}
            there was some slack in our accounts, enough for a {item}
            there was a run on the bank in {LOC} {when}, and I had just signed for the {item}
            {ORG} shares closed at {price} on the day of the {item}
            {relative} set up a {item} with {ORG} {when}
            has anyone else looked at the {item} from {ORG}?
            I put {price} a week into the {item} and check the record every season
            {PER} of {LOC}-based {ORG} showed us the {item}
            {PER}'s bank in {LOC} has changed its {item}
            """
        ),
        "actor": words("{ORG}; {ORG}; the {LOC} lender {ORG}; {ORG}, the rival of {ORG},"),
        "quantity": (
            words("profit; revenue; income from savings; dividends; investment; credit quality"),
            words("debt; losses; fraud; overdue loans; bank charges; unpaid bills; bad credit"),
        ),
        "events": (
            words(
                "beat/beat forecasts; return/returned to profit; raise/raised its dividend;"
                "land/landed a record order; pay/paid back its loans early;"
                "avoid/avoided a loss; win/won back its investors"
            ),
            words(
                "miss/missed forecasts; slip/slipped back into the red; cut/cut its dividend;"
                "lose/lost a record order; default/defaulted on its loans; post/posted a loss;"
                "drive/drove away its investors"
            ),
        ),
    },
    "tech": {
        "topic": "Finance/Tech",
        "suffix": words(
            "Systems; Software; Robotics; Networks; Semiconductors; Mobile; Devices; Cloud"
        ),
        "item": words(
            "phone; laptop; tablet; router; smart speaker; software update; web browser;"
            "chatbot; cloud drive; webcam; graphics card; data plan; code editor;"
            "video doorbell; e-reader; charger; printer; password manager; virus scanner;"
            "battery pack; search engine"
        ),
        "part": words(
            "battery; screen; keyboard; user interface; support line; charging speed;"
            "operating system; processor; warranty; login page; setup; microphone; touchpad;"
            "volume button; fuel cell; free trial; return policy; storage; price; manual"
        ),
        "scene": lines(
            """
            we tested the {item} from {ORG} for {weeks}
            I switched from {ORG} to a {item} made in {LOC}
            after a virus wiped my old drive I went for a {item}
            {PER} followed the live stream where {ORG} showed the {item}
            the {ORG}-owned start-up in {LOC} shipped a {item}
            their free trial let me run the {item} for {weeks}
            {PER} of {ORG} presented the {item} in {LOC}
            I picked up the {item} at the {ORG} store in {LOC}
            engineers at {ORG} worked on the {item} for {weeks}
            I use the {item} on the train, next to a square of light that is my phone charge
            an orange light blinks whenever the {item} starts
            the {item} sits on my desk between an apple and a cold coffee
            {ORG} and {ORG} share the patents behind the {item}
            has {ORG} shown the {item} in {LOC} yet?
            {ORG}'s {item} went on sale in {LOC} {when}
            {PER} bought {ORG}'s {item} in {LOC}
            {relative} ordered the {item} from {ORG} for {price}
            the {item} from {LOC} arrived {when}
            I pay {price} for the {item}
            {PER} left {ORG} {when}, just as the {item} came out
            my {item} came with a cable, a shell of grey plastic and no paper
            {NAME} and {NAME} coded the {item} in a garage in {LOC}
            I had the {item} on charge all night and on test all day
            does the {item} fit in a coat pocket? I took it to {LOC} to find out
            """
        ),
        "actor": words("{ORG}; {ORG}; the chip maker {ORG}; {PER}'s start-up {ORG}"),
        "quantity": (
            words("battery life; device sales; app downloads; network speed; chip output"),
            words(
                "outages; data leaks; crashes; security bugs; returns of faulty devices;app errors"
            ),
        ),
        "events": (
            words(
                "fix/fixed the security hole; keep/kept its servers running;"
                "ship/shipped on time; win/won the patent trial; double/doubled its chip output;"
                "restore/restored all user data; stop/stopped the virus"
            ),
            words(
                "ignore/ignored the security hole; let/let its servers crash;"
                "ship/shipped a year late; lose/lost the patent trial;"
                "halve/halved its chip output; leak/leaked all user data;"
                "spread/spread the virus"
            ),
        ),
    },
    "care": {
        "topic": "Health/Lifestyle",
        "suffix": words("Clinic; Hospital; Health; Pharma; Dental; Biotech; Medical; Care"),
        "item": words(
            "blood test; vaccine; knee operation; allergy tablet; hearing test; checkup;"
            "dental visit; physio session; skin cream; recovery plan; cough syrup; eye test;"
            "hip operation; flu jab; night ward; pain clinic; cell therapy; back treatment;"
            "X-ray appointment"
        ),
        "part": words(
            "waiting room; nurse in charge; dosage; aftercare; needle; doctor; bedside manner;"
            "leaflet; appointment system; medical record; anaesthetic; follow-up; diagnosis;"
            "bandage; reception; clinical trial; blood pressure check; taste"
        ),
        "scene": lines(
            """
            {PER} at the hospital in {LOC} suggested the {item}
            I was sent to {ORG} for the {item} {when}
            my doctor, {NAME}, shares every detail of the {item} with me
            the nurse in charge, {NAME}, walked me through the {item}
            after {weeks} off with a virus I was booked in for the {item}
            {PER} flew from {LOC} to {LOC} for the {item}
            the blood bank at {ORG} told me about the {item}
            at {number} I needed the {item}
            the hospital in {LOC} keeps a record of every {item}
            patients at {ORG} get the {item} twice a year
            {relative} takes two tablets a day and was told to have the {item}
            flu season means the {item} for the whole family
            the mercury in the thermometer read 39, so the doctor ordered the {item}
            {ORG}'s {item} is part of a clinical trial in {LOC}
            my risk score was high, hence the {item}
            {PER} and {PER} both had the {item} in {LOC}
            the pain made its return, and with it came the {item}
            I found a match on the donor list and then had the {item}
            {ORG}, where {NAME} is a surgeon, charges {price} for the {item}
            has anybody in {LOC} had the {item}?
            {ORG}'s doctor, {PER}, planned the {item} in {LOC}
            it was pitch dark when the ambulance brought me in for the {item}
            a small gap in a tooth, a large orange pill, and then the {item}
            """
        ),
        "actor": words(
            "{PER}; {PER}; a patient at {ORG}; our nurse {NAME}; {NAME}, a patient from {LOC},"
        ),
        "quantity": (
            words("recovery rates; survival rates; lung capacity; blood donations; patient safety"),
            words("infections; pain levels; flu cases; complications; side effects;medical errors"),
        ),
        "events": (
            words(
                "make/made a full recovery; get/got the all-clear; come/came off the tablets;"
                "walk/walked again without pain; respond/responded well to the treatment;"
                "beat/beat the infection; leave/left the ward in good health"
            ),
            words(
                "suffer/suffered a relapse; get/got a grim diagnosis;"
                "fall/fell ill from the tablets; lie/lay awake in pain;"
                "react/reacted badly to the treatment; catch/caught a second infection;"
                "return/returned to the ward in a bad state"
            ),
        ),
    },
    "living": {
        "topic": "Health/Lifestyle",
        "suffix": words("Foods; Wellness; Fitness; Organics; Yoga; Spa; Kitchens; Gyms; Nutrition"),
        "item": words(
            "diet; yoga class; spin class; meal plan; sleep routine; detox week; salad bar;"
            "smoothie; herbal tea; meditation course; running plan; vegan menu; gym; massage;"
            "breathing exercise; wellness retreat; cooking class; sauna; protein shake;"
            "weight-loss plan; morning workout"
        ),
        "part": words(
            "morning run; warm-up; portion size; pool; recipe; instructor; sleep score;"
            "stretching; fit; breakfast; bench press; changing room; cool-down; fasting day;"
            "steam room; mat; coach; flavour; star anise; taste; pace"
        ),
        "scene": lines(
            """
            I started the {item} at {ORG} {when}
            my trainer {NAME} shares every step of the {item}
            {ORG} introduced its {item} in {LOC} {when}
            an apple a day, a morning run and the {item}: that is my week
            I squeeze an orange, boil an egg, and then comes the {item}
            {when} I felt fit enough for the {item}
            we walked along the stream near {LOC} before the {item}
            my sleep score was low, so I signed up for the {item}
            {PER} and {PER} did the {item} together in {LOC}
            my target weight is {number} kilos, hence the {item}
            we cooked turkey with sage for {weeks} and then came the {item}
            a long bath, some reading, then the {item}
            my goal this season is {weeks} of the {item}
            {PER} from {ORG} swears she wakes at six for the {item}
            {ORG} charges {price} for the {item}
            at the {ORG} studio in {LOC} they put me on the {item}
            {relative} does the {item} every Sunday with {NAME}
            I read about the {item} in a magazine from {LOC}
            {PER} took {NAME}'s place in {ORG}'s {item} in {LOC}
            does the {item} fit into a busy week? {NAME} of {ORG} says so
            to stay in shape I run along the river bank and keep up the {item}
            I return to {LOC} every summer for the {item}
            I added nuts, shell and all, to the bowl after the {item}
            """
        ),
        "actor": words(
            "{PER}; {PER}; my trainer {NAME}; {NAME}, who trains at {ORG},;{NAME}, a cook at {ORG},"
        ),
        "quantity": (
            words("fitness; energy levels; sleep quality; muscle strength; healthy eating"),
            words("stress; back pain; sugar intake; smoking; obesity; bad sleep; muscle cramps"),
        ),
        "events": (
            words(
                "pass/passed the fitness test; sleep/slept like a baby; give/gave up smoking;"
                "run/ran ten miles without pain; reach/reached the target weight;"
                "stick/stuck to the diet; get/got back in shape"
            ),
            words(
                "fail/failed the fitness test; sleep/slept badly for weeks;"
                "start/started smoking again; pull/pulled a muscle on a short run;"
                "gain/gained all the weight back; give/gave up on the diet;"
                "get/got badly out of shape"
            ),
        ),
    },
    "sport": {
        "topic": "Entertainment/Sports",
        "suffix": words("United; Rovers; Athletic; City; Wanderers; Rangers; Sports; Racing"),
        "item": words(
            "match; cup final; derby; tennis final; title race; tournament; friendly;"
            "penalty shoot-out; bike race; boxing night; hockey game; relay; away game;"
            "charity match; semi-final; grand prix; season opener; draft night; rugby tour;"
            "golf open"
        ),
        "part": words(
            "second half; defence; midfield; commentary; stadium; referee; pitch; goalkeeping;"
            "tackling; kick-off; home crowd; striker; final score; coaching; finish; penalty;"
            "press conference; half-time show; pace; passing game"
        ),
        "scene": lines(
            """
            we saw the {item} in {LOC} {when}
            {PER} of {ORG} was the star of the {item}
            {ORG} met {ORG} in the {item}
            I followed the {item} on a stream from {LOC}
            coach {NAME} took {ORG} to {LOC} for the {item}
            {PER} kept score at the {item}
            the {item} in {LOC} set a record for tickets
            after a long run of draws {ORG} reached the {item}
            {PER} shares her ticket for the {item} with {relative}
            fans from {LOC} sang all through the {item}
            we paid {price} a head for the {item}
            {relative} never misses a {item} of {ORG}
            {NAME} led the charge in the {item}
            a goal in the first minute, a shot on target in the last: that was the {item}
            the gap at the top was two points before the {item}
            the chase was on from the first lap of the {item}
            two banks of seats were closed for the {item}
            {PER} was fit again in time for the {item}
            did anyone else watch the {item} in {LOC}?
            {NAME}'s {ORG} and {NAME}'s {ORG} met in the {item} in {LOC}
            {LOC}'s {ORG} played {ORG} in the {item}
            half the squad had a virus {when}, but the {item} went ahead
            {ORG}'s return to {LOC} came with the {item}
            they threw an orange onto the pitch during the {item}
            """
        ),
        "actor": words(
            "{ORG}; {PER}; {ORG} striker {NAME}; {NAME}, the captain of {ORG},; {PER} of {ORG}"
        ),
        "quantity": (
            words(
                "goals per game; ticket sales; stadium attendance; wins away from home;"
                "pass accuracy"
            ),
            words("red cards; defeats; missed penalties; crowd trouble; injury lists; own goals"),
        ),
        "events": (
            words(
                "win/won the cup final; score/scored a late winner;"
                "break/broke the track record; save/saved the season; top/topped the league;"
                "thrill/thrilled the home crowd; reach/reached the final"
            ),
            words(
                "lose/lost the cup final; concede/conceded a late goal;"
                "miss/missed an open goal; waste/wasted the season;"
                "drop/dropped out of the league; bore/bored the home crowd;"
                "crash/crashed out in the first round"
            ),
        ),
    },
    "shows": {
        "topic": "Entertainment/Sports",
        "suffix": words("Pictures; Records; Studios; Theatre; Films; Media; Productions; Opera"),
        "item": words(
            "film; concert; album; series; season finale; musical; video game; sequel;"
            "documentary; festival; comedy show; podcast; novel; opera; remake; biopic;"
            "pilot episode; thriller; talent show; cartoon; stage play"
        ),
        "part": words(
            "soundtrack; film score; plot; lead actor; ending; opening act; chorus; script;"
            "cast; lighting; encore; dialogue; drum solo; choreography; camera work;"
            "guitar work; first episode; stage design; costume fit; cliffhanger; pace; volume"
        ),
        "scene": lines(
            """
            we went to {LOC} for the {item} {when}
            {PER} plays a bank robber from {LOC} in the {item}
            {ORG} released the {item} in {LOC} {when}
            I queued for {weeks} to see the {item}
            {PER} wrote the {item} for {ORG}
            {PER} shares the stage with {NAME} in the {item}
            the {item} tells of a virus that empties {LOC}
            you can stream the {item} on {ORG}
            {NAME} returns as a doctor from {LOC} in the {item}
            the {item} is about a broker who loses all his shares
            the {item} is about a nurse on a night ward
            the {item} had a long run in {LOC}
            {ORG} signed {NAME} for the {item}
            a car chase, a phoenix and an orange moon: that is the {item}
            the {item} opened with a slow apple harvest
            {relative} got us tickets for the {item} at {price} each
            {PER} is a tech boss and {PER} a banker in the {item}
            I played the record at full volume and then put on the {item}
            has anyone in {LOC} seen the {item} yet?
            {NAME}'s {item} for {ORG} came to {LOC} {when}
            press night in {LOC}: {ORG} showed the {item}
            {NAME} pitched the {item} to {ORG} in {LOC}
            I put on the {item} at home, lights off, screen on
            """
        ),
        "actor": words(
            "{PER}; {PER}; the singer {NAME}; {ORG} star {NAME}; {NAME}, a dancer from {LOC},"
        ),
        "quantity": (
            words("ticket sales; ratings; album sales; applause; viewer numbers; streaming hits"),
            words("cancelled shows; walkouts; boos; empty seats; bad reviews; ticket fraud"),
        ),
        "events": (
            words(
                "get/got a standing ovation; sell/sold out the arena; top/topped the charts;"
                "charm/charmed the critics; win/won best actor;"
                "move/moved the audience to tears of joy; steal/stole the show"
            ),
            words(
                "get/got booed off the stage; play/played to empty seats;"
                "drop/dropped out of the charts; bore/bored the critics; win/won worst actor;"
                "send/sent the audience to sleep; ruin/ruined the show"
            ),
        ),
    },
}
