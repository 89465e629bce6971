"""The sentences that the page comes with."""

# For visitors to try; the first is answered when the page opens.
EXAMPLES = [
    "Maya Lindqvist of Apple opened a new office in Jordan.",
    "The apple pie of my aunt in Georgia was a let-down.",
    "Nobody would call last night's match boring!",
]
PAIR = (
    "The bank raised its interest rates again.",
    "Loans are getting more expensive.",
)
LIST = [
    "The striker scored twice in the last ten minutes.",
    "A dull film with a plot that goes nowhere.",
    "Tomas Berg will run the new office of Siemens in Madrid.",
    "The phone's battery dies before lunch.",
    "Ten minutes of stretching did wonders for my back.",
    "This soup is bland, and the bread was stale.",
    "The orchestra played as if possessed; what a night!",
    "Shares fell after the company missed its targets.",
]
# The page finds the nearest of these.
STORED = [
    *LIST,
    "The goalkeeper saved a penalty and the season.",
    "Her new album is the best thing on the radio this year.",
    "The series lost me after its second episode.",
    "Tickets for the concert sold out within an hour.",
    "The central bank left interest rates as they were.",
    "A young company makes chips that need half the power.",
    "The update made my laptop slower than it ever was.",
    "Investors cheered the merger of the two carmakers.",
    "Borrowing money has become dearer for families.",
    "Walking to work every day lowered her blood pressure.",
    "The new diet left me tired and hungry.",
    "Bake the apples with cinnamon until they are soft.",
    "Doctors advise eight hours of sleep.",
    "The train to Vienna was late again.",
    "We hiked along the lake and saw two herons.",
    "The museum shows photographs from the last century.",
]
