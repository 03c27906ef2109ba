"""The loops of all losses, each written once, as plain functions that the compiler takes.

Words for portions of work, the largest first:

    call      what a user asks for with one verb
    task      a run of blocks that one thread takes at a time
    block     samples whose losses make one partial sum; what a kernel goes over
    sample    what has one loss and one weight: an element, or a row
    group     rows that are computed together, at most `row_groups.GROUP`; those that a user gives
              to a scorecard are another thing (`tally.KEYS`)
    row       the numbers of one sample of a loss over classes
    segment   part of a long row that stays in the second-level cache (`softmax.long_rows`)
    part      some classes of a long row, with all that there is for each (`softmax.parts`)
    chunk     numbers whose sum is taken in the arithmetic before it goes on in float64
    tile      elements that are computed at a time, into the first-level cache (`elementwise`)
    lane      the numbers of one class, one for each row of a group (`softmax.lanes`)
    step      as many numbers as a loop along a row takes at a time
    element   one number

For what is found out of a row, with the formulas at the head of `softmax.formulas`:

    gap       how far a logit is below the largest of its row; as an exponent, the negative number
    mass      what a class has of the labels of its row, times its weight
    rest      the sum of the exponentials without that of the largest logit, which is 1
    share     what smoothing gives to each class; in comparisons, what a class adds to a divergence
    moments   what a row adds up to besides, for its scores (`softmax.row_scores`)
    kept      of a logit, what outputs follow from: its exponential, or the logarithm of that
    as it counts  of a logit, once it is capped and masked, and before the temperature

And for memory:

    scratch   memory of a kernel, which it makes for a block and uses for all of its groups
    window    some numbers of an array, one behind the other (`compiler.bits.window`)
    stored    of a number, as it lies in the user's array; decoded, in the arithmetic
    spare     memory that a function may use as it likes
    columns   an array that lies class by class, in which lanes lie as they are (`blocks.Columns`)

And for numbers, and for what is made of them:

    arithmetic  float32 or float64, in which losses are computed, whatever they are stored in
    told        of an option: given at each call, and not compiled in
    lifted      times a power of two, so that it is no denormal number (`scalar.lift_unit`)
    link        the function of the loss of a class id that makes another loss of it
    form        what any kernel is made for: dtypes, and what is read and written (`form`)
    traits      what a softmax kernel is made for, the form included (`softmax.traits`); what a
                loss says of itself has the same name elsewhere (`call.family.Traits`)
"""
